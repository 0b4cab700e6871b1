"""Attributes of a catalogue: the type of each column, and which of them name kinds of things.

A type is found once, when the shards are written, and stands in their receipt.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

from unidiff_cli.data import columns
from unidiff_cli.data.captions import cell_text, fold, same_text

AttributeType = Literal["number", "text", "list", "date"]
# Rows that types are found from, evenly spaced.
MOST_ROWS = 20_000
# The share of values that makes a type.
MOST = 0.9
# Values that a class column may have, and rows that each of them needs.
MIN_VALUES, MAX_VALUES, MIN_ROWS = 2, 50, 5
# Characters of a value; a longer one is a description.
MAX_LENGTH = 40
# 12, -1.5, 1,200.00, 19.90 EUR, € 5, 15 cm, 80%
_NUMBER = re.compile(
    r"[^\w\s]{0,2}\s?[+-]?\d[\d.,' ]*(?:e[+-]?\d+)?\s?[a-zA-Z%€$£¥°µ²³]{0,4}\.?", re.I
)
_DATE = re.compile(
    r"\d{4}-\d{1,2}-\d{1,2}(?:[T ]\d{1,2}:\d{2}.*)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}(?: \d.*)?"
    r"|\d{4}/\d{1,2}/\d{1,2}"
)
LIST = re.compile(r"\s*[|;,]\s*")
# Names of files, addresses, and codes such as SKU-12: no kinds of things.
_CODE = re.compile(r"\S*[\d/\\@]\S*|\S+\.[a-z]{3,4}")
_ANSWERS = frozenset("yes no true false y n t f on off enabled disabled active inactive".split())
# Words in the names of columns that say which kind of product an image shows, likeliest first, and
# of those that say its colour.
KINDS = ("category", "type", "class", "kind", "department")
COLOURS = ("color", "colour", "farbe", "couleur")
# What columns with these words in their names say is no kind either.
_NO_KINDS = frozenset(
    "id sku gtin ean upc asin url link path file filename handle currency".split()
)


@dataclass(frozen=True)
class Attribute:
    """What a column of attributes holds: its type, how many values, and whether they name kinds.

    Kinds, such as colours, are what a model can be tested on. Ids, names, links, prices and yes or
    no are none.
    """

    type: AttributeType
    values: int
    is_kind: bool


def infer(rows: Sequence[Mapping[str, Any]]) -> dict[str, Attribute]:
    """The attributes of a catalogue by its rows' cells; columns without any value are left out."""
    chosen = rows[:: -(-len(rows) // MOST_ROWS) or 1]
    # As columns, in which an equal text is held once: rows as objects take far more memory.
    cells: dict[str, list[Any]] = {}
    held: dict[str, str] = {}
    for number, row in enumerate(chosen):
        for name, cell in row.items():
            column = cells.setdefault(name, [])
            column += [None] * (number - len(column))
            column.append(held.setdefault(cell, cell) if isinstance(cell, str) else cell)
    attributes = {name: _infer(name, column) for name, column in cells.items()}
    return {name: attribute for name, attribute in attributes.items() if attribute}


def as_figures(attributes: Mapping[str, Attribute]) -> dict[str, dict[str, Any]]:
    """The attributes as a receipt holds them."""
    return {name: asdict(attribute) for name, attribute in attributes.items()}


def from_figures(figures: Mapping[str, Any]) -> dict[str, Attribute] | None:
    """The attributes of a receipt's figures; None where it has none that can be read."""
    stored = figures.get("attributes")
    if not isinstance(stored, Mapping):
        return None
    try:
        attributes = {name: Attribute(**fields) for name, fields in stored.items()}
    except TypeError:
        return None
    types = get_args(AttributeType)
    return attributes if all(a.type in types for a in attributes.values()) else None


def class_columns(
    rows: Sequence[Mapping[str, Any]], attributes: Mapping[str, Attribute] | None = None
) -> dict[str, list[str | None]]:
    """The columns whose values are classes: each row's value, None for none or a rare one.

    They name kinds, by the catalogue's attributes (found from these rows where none are given), and
    have 2 to 50 values of at most 40 characters with at least 5 rows each, which make up half of
    the rows. Values that differ only in case and blanks are one, spelled as the first.
    """
    attributes = infer(rows) if attributes is None else attributes
    classes: dict[str, list[str | None]] = {}
    texts = _texts(rows, [name for name, attribute in attributes.items() if attribute.is_kind])
    for name in texts:
        spellings: dict[str, str] = {}
        values = [
            spellings.setdefault(same_text(text), text) if text else None for text in texts[name]
        ]
        counts = Counter(v for v in values if v is not None and len(v) <= MAX_LENGTH)
        frequent = {v for v, count in counts.items() if count >= MIN_ROWS}
        column = [v if v in frequent else None for v in values]
        enough = 2 * sum(v is not None for v in column) >= len(rows)
        if MIN_VALUES <= len(frequent) <= MAX_VALUES and enough:
            classes[name] = column
    return classes


def column_for(names: Iterable[str], wanted: Sequence[str]) -> str | None:
    """The column whose name has the likeliest of the wanted words; None where none has one."""
    names = list(names)
    return next((n for word in wanted for n in names if word in columns.words(n)), None)


def named_values(texts: Sequence[str], column: Sequence[str | None]) -> list[str | None]:
    """Each text's value of an attribute if the text names it, as whole words; else None.

    A caption that is silent about the colour names none, whatever colour the product has.
    """
    return [
        value if value is not None and value_pattern(value).search(fold(text)) else None
        for text, value in zip(texts, column, strict=True)
    ]


@lru_cache(maxsize=10_000)
def value_pattern(value: str) -> re.Pattern[str]:
    """Finds a value in a text as whole words, in any case; blanks, - and _ are alike."""
    words = "[ _-]+".join(map(re.escape, re.split("[ _-]+", fold(value))))
    return re.compile(rf"(?<![^\W_]){words}(?![^\W_])", re.I)


def _texts(rows: Iterable[Mapping[str, Any]], names: Sequence[str]) -> dict[str, list[str]]:
    """Some columns of the rows, which are gone through once; an equal text is held once."""
    texts: dict[str, list[str]] = {name: [] for name in names}
    held: dict[str, str] = {}
    for row in rows:
        for name, column in texts.items():
            text = _text(row.get(name))
            column.append(held.setdefault(text, text))
    return texts


def _text(cell: Any) -> str:
    return cell.strip() if isinstance(cell, str) else ""


def _infer(name: str, cells: Sequence[Any]) -> Attribute | None:
    filled = [cell for cell in cells if cell_text(cell)]
    if not filled:
        return None
    texts = [cell_text(cell) for cell in filled]
    values = len(set(map(same_text, texts)))
    kind = _type(filled, texts)
    return Attribute(kind, values, kind == "text" and _names_kinds(name, filled, values))


def _type(cells: Sequence[Any], texts: Sequence[str]) -> AttributeType:
    enough = MOST * len(cells)
    if sum(isinstance(cell, list | tuple | dict) or _is_json(cell) for cell in cells) >= enough:
        return "list"
    if sum(bool(_DATE.fullmatch(text)) for text in texts) >= enough:
        return "date"
    if sum(_is_number(cell) for cell in cells) >= enough:
        return "number"
    return "list" if _are_lists(texts) else "text"


def _is_number(cell: Any) -> bool:
    if isinstance(cell, bool):
        return False
    return isinstance(cell, int | float) or bool(_NUMBER.fullmatch(cell_text(cell)))


def _is_json(cell: Any) -> bool:
    if not isinstance(cell, str) or cell.strip()[:1] != "[":
        return False
    try:
        return isinstance(json.loads(cell), list)
    except (ValueError, RecursionError):
        return False


def _are_lists(texts: Sequence[str]) -> bool:
    """Whether short words stand between separators in most texts, and repeat."""
    items = [[item for item in LIST.split(text) if item] for text in texts]
    several = sum(len(parts) > 1 for parts in items)
    flat = [item for parts in items for item in parts]
    is_short = all(len(item) <= MAX_LENGTH and item.count(" ") < 4 for item in flat)
    return 2 * several >= len(texts) and is_short and 2 * len(set(flat)) <= len(flat)


def _names_kinds(name: str, cells: Iterable[Any], values: int) -> bool:
    """Whether the texts of a column name kinds of things."""
    if columns.named("caption", [name]) or columns.named("split", [name], columns.SPLIT_FLAGS):
        return False
    if columns.named("id", [name]) or _NO_KINDS & set(columns.words(name)):
        return False
    texts = [cell.strip() for cell in cells if isinstance(cell, str)]
    distinct = {text.casefold() for text in texts}
    codes = sum(bool(_CODE.fullmatch(text)) for text in distinct)
    answers = sum(text in _ANSWERS for text in distinct)
    return bool(distinct) and 2 * max(codes, answers) <= len(distinct) and 2 * values <= len(texts)
