"""Text of a catalogue as captions: mended, folded, filled in from columns; prompts from a file."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from html.entities import html5
from pathlib import Path
from typing import Any

from unidiff_cli.data.locations import locate
from unidiff_cli.errors import UsageError

# Characters; more is a file that went astray, not a caption.
MAX_LENGTH = 10_000
# Bytes of a file of prompts.
MOST_PROMPTS = 1 << 26
# Entities as browsers read them, but no word after an ampersand: pen&notebook is not pen¬ebook.
_ENTITY = re.compile(
    r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});"
    r"|&(?:amp|gt|lt|nbsp|quot)(?![a-zA-Z0-9])"
)
# The elements of HTML that shops use, and LLaVA's <image>; <S-XXL> and <NEW> are words.
_ELEMENTS = """
    a abbr b big blockquote body br center code dd del div dl dt em figcaption figure font form
    h1 h2 h3 h4 h5 h6 head hr html i iframe image img input ins li link meta ol p pre q script
    small span strike strong style sub sup table tbody td tfoot th thead tr u ul
"""
_TAG = re.compile(rf"</?(?:{'|'.join(_ELEMENTS.split())})(?=[\s/>])[^<>]{{0,300}}>", re.I)
_FIELD = re.compile(r"\{([^{}]+)\}")


def fold(text: str) -> str:
    """The text with every run of white space as one blank."""
    return " ".join(text.split())


def clean(text: str) -> str:
    """The caption as a person reads it, on one line.

    Entities are read and tags dropped. Broken letters (cafÃ©), lone surrogates, control characters
    and terminal escapes are mended by ftfy. Quotes, ligatures and accents stay as they are written.
    """
    if "&" in text:
        text = _ENTITY.sub(_character, text)
    if "<" in text:
        text = _TAG.sub(" ", text)
    text = fold(text)
    if not (text.isascii() and text.isprintable()):
        text = fold(_fix_text()(text.replace("\0", " ")))
    return text


def _character(entity: re.Match[str]) -> str:
    """What an entity stands for; itself where HTML has none of that name."""
    name = entity[0].removeprefix("&").removesuffix(";")
    return html.unescape(entity[0]) if name[0] == "#" else html5.get(f"{name};", entity[0])


@cache
def _fix_text() -> Callable[[str], str]:
    """ftfy's mending of damage, without its changes of style."""
    from ftfy import TextFixerConfig, fix_text

    style = {"fix_latin_ligatures", "fix_character_width", "uncurl_quotes", "fix_line_breaks"}
    config = TextFixerConfig(unescape_html=False, normalization=None, **dict.fromkeys(style, False))
    return partial(fix_text, config=config)


def read_prompts(file: Path) -> list[str]:
    """The prompts of a text file, one a line, without blank lines and lines that start with #.

    Raises UsageError where there is none.
    """
    try:
        data = locate(file).read(MOST_PROMPTS)
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = data.count(b"\n", 0, problem.start) + 1
        raise UsageError(
            f"{file} cannot be read as text: line {line} is not UTF-8.", "Save it as UTF-8."
        ) from problem
    except (OSError, ValueError) as problem:
        words = getattr(problem, "strerror", None) or problem
        raise UsageError(f"{file} cannot be read as text: {words}.") from problem
    lines = [line.strip() for line in text.splitlines()]
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
    return fold(well_formed(str(value)))


def well_formed(text: str) -> str:
    """The text without lone surrogates, halves of a character, which no file can hold."""
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def cell_captions(value: Any) -> Iterable[str]:
    """A caption cell as captions: a list holds several."""
    return map(cell_text, value) if isinstance(value, list | tuple) else (cell_text(value),)


def same_text(caption: str) -> str:
    """What equal captions have in common: they may differ in case and blanks."""
    return fold(caption).casefold()


def number_distinct(texts: Iterable[str]) -> list[int]:
    """0 … D − 1 for each caption, one number for equal ones, in the order of their first."""
    numbers: dict[str, int] = {}
    return [numbers.setdefault(same_text(text), len(numbers)) for text in texts]
