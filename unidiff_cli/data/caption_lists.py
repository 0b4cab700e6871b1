"""Several captions in one value: a list, an object, or a cell that holds either as text.

Exports write lists as JSON, as Python or numpy prints them, or as Postgres does.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

# What an object calls its text, and how it names a language.
TEXTS = ("raw", "caption", "text", "value", "data")
_LANGUAGE = re.compile(r"[a-z]{2,3}([-_][A-Za-z]{2,4})?")
# Lists and objects inside one another.
DEPTH = 4
# How such a cell begins. ['90s style] begins so too, and is a caption: single quotes need more.
_DOUBLE = re.compile(r'[\[{]\s*"|\[[\s\[]*[\[{]\s*["\']')
_SINGLE = re.compile(r"[\[{]\s*'(?:.*[\]}]$|.*?'\s*[,:]\s*[\"'\[{])|\(\s*'.*?'\s*,", re.DOTALL)
_EMPTY = re.compile(r"\[\s*(?:null|None)?\s*\]|\{\s*\}")
# Strings of Python; between two there may be a comma, or as numpy prints them only a blank.
_STRING = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|None|nan""", re.DOTALL)
_STRINGS = re.compile(rf"[\[(]\s*(?:(?:{_STRING.pattern})[\s,]*)*[\])]", re.DOTALL)


def read(value: Any, depth: int = DEPTH) -> Iterator[str]:
    """The texts of a caption cell, in order.

    A list gives each of its items. An object gives its `raw`, `caption`, `text`, `value` or `data`,
    or its text in each language. A text that holds such a list or object is read as one. Raises
    ValueError for what looks so and cannot be read.
    """
    if isinstance(value, str):
        yield from read(parse(value), depth) if looks_parsed(value) else (value,)
    elif isinstance(value, dict | list | tuple):
        if not depth:
            raise ValueError("lists and objects too deep in one another")
        for item in _texts(value) if isinstance(value, dict) else value:
            yield from (item,) if isinstance(item, str) else read(item, depth - 1)
    elif value is not None and value == value:
        yield str(value)


def languages(value: Any) -> list[str]:
    """The languages of a caption cell that has a text in each; none of another cell."""
    try:
        value = parse(value) if isinstance(value, str) and looks_parsed(value) else value
    except ValueError:
        return []
    if not isinstance(value, dict) or not _has_languages(value):
        return []
    return [name for name, text in value.items() if text]


def looks_parsed(text: str) -> bool:
    """Whether a cell's text is meant as a list or an object, be it whole or not."""
    text = text.strip()
    if text[:1] not in ("[", "{", "("):
        return False
    return bool(_DOUBLE.match(text) or _SINGLE.match(text) or _EMPTY.fullmatch(text))


def parse(text: str) -> Any:
    """A list or an object written as text. Raises ValueError."""
    text = text.strip()
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    if _STRINGS.fullmatch(text):
        return [_string(match[0]) for match in _STRING.finditer(text)]
    try:
        if text.startswith('{"') and text.endswith("}"):
            # Postgres has arrays in braces.
            items = json.loads(f"[{text[1:-1]}]")
        else:
            items = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise ValueError("it looks like a list or an object, and is none that is whole") from None
    return items


def _string(text: str) -> str:
    value = None if text == "nan" else ast.literal_eval(text)
    return value or ""


def _texts(value: dict[Any, Any]) -> list[Any]:
    """What an object says. Raises ValueError where nothing tells."""
    if not value:
        return []
    for name in TEXTS:
        if name in value:
            return [value[name]]
    if _has_languages(value):
        return list(value.values())
    names = ", ".join(str(name)[:20] for name in list(value)[:5])
    raise ValueError(f"an object of {names}, where none of {', '.join(TEXTS)} is")


def _has_languages(value: dict[Any, Any]) -> bool:
    """Whether the names of an object are those of languages, and not of its text."""
    names = [name for name in value if isinstance(name, str)]
    return len(names) == len(value) > 0 and all(
        name not in TEXTS and _LANGUAGE.fullmatch(name) for name in names
    )
