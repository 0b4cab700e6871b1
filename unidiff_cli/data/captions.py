"""Text of a catalogue as captions: mended, folded, filled in from columns; prompts from a file."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from unidiff_cli.errors import UsageError

# Characters; more is a file that went astray, not a caption.
MAX_LENGTH = 10_000
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,300}>")
_FIELD = re.compile(r"\{([^{}]+)\}")
_SURROGATE = re.compile("[\ud800-\udfff]")


def fold(text: str) -> str:
    """The text with every run of white space as one blank."""
    return " ".join(text.split())


def clean(text: str) -> str:
    """The caption as a shop page shows it.

    Entities are read, tags dropped, and UTF-8 that was read as cp1252 is put right.
    """
    text = html.unescape(text) if "&" in text else text
    text = _TAG.sub(" ", text) if "<" in text else text
    if not text.isascii():
        try:  # 'cafÃ©' is valid UTF-8 once more; true cp1252 text almost never is
            text = text.encode("cp1252").decode("utf-8")
        except UnicodeError:
            text = _SURROGATE.sub("\ufffd", text)
    return fold(text.replace("\0", " "))


def read_prompts(file: Path) -> list[str]:
    """The prompts of a text file, one a line, without blank lines and lines that start with #.

    Raises UsageError where there is none.
    """
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as problem:
        raise UsageError(f"{file} cannot be read as text: {problem}.") from problem
    prompts = [line for line in lines if line and not line.startswith("#")]
    if not prompts:
        raise UsageError(f"{file} holds no prompt.", "Write one a line.")
    return prompts


def fields(template: str) -> list[str]:
    """The columns a template such as "{name} in {color}" names."""
    return _FIELD.findall(template)


def fill(template: str, cells: Mapping[str, Any]) -> str:
    """The template with its columns' values. Raises KeyError naming a column that is empty here."""

    def value(match: re.Match[str]) -> str:
        text = cell_text(cells.get(match[1]))
        if not text:
            raise KeyError(match[1])
        return text

    return _FIELD.sub(value, template)


def cell_text(value: Any) -> str:
    """A cell as text; nothing and lists of nothing are ''."""
    if value is None or value != value:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(filter(None, map(cell_text, value)))
    return fold(str(value))


def cell_captions(value: Any) -> Iterable[str]:
    """A caption cell as captions: a list holds several."""
    return map(cell_text, value) if isinstance(value, list | tuple) else (cell_text(value),)


def same_text(caption: str) -> str:
    """What equal captions have in common: they may differ in case and blanks."""
    return fold(caption).casefold()
