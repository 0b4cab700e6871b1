"""Attributes as typed Arrow columns: numbers, dates, lists and texts, to be compared and counted.

Text is held once for each value and as a code for each row, so that a comparison costs as much as
there are values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from unidiff_cli.data.attributes import LIST, Attribute
from unidiff_cli.data.captions import cell_text

if TYPE_CHECKING:
    import pyarrow

_NUMBER = re.compile(r"[+-]?\d[\d.,'’ \u00a0\u202f]*(?:e[+-]?\d+)?", re.I)
# Only 2026-11-27 and 2026/11/27 are the same day everywhere; 11/27 and 27.11. stay text.
_DATE = re.compile(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?!\d)")
_COMMA_IS_DECIMAL = re.compile(r",\d{1,2}(?!\d)|\.\d{3},\d")
_POINT_IS_DECIMAL = re.compile(r"\.\d{1,2}(?!\d)|\.\d{4}|,\d{3}\.\d")


def typed_columns(
    rows: Sequence[Mapping[str, Any]], attributes: Mapping[str, Attribute]
) -> dict[str, pyarrow.Array]:
    """A column of each attribute over the rows, null where a row has none or it has another type.

    Numbers are float64, dates days, lists lists of text, all else text by codes.
    """
    columns: dict[str, list[Any]] = {name: [] for name in attributes}
    # An equal text is held once, whatever makes the rows.
    held: dict[str, str] = {}
    for row in rows:
        for name, cells in columns.items():
            cell = row.get(name)
            cells.append(held.setdefault(cell, cell) if isinstance(cell, str) else cell)
    return {name: _column(columns.pop(name), each) for name, each in attributes.items()}


def _column(cells: Sequence[Any], attribute: Attribute) -> pyarrow.Array:
    import pyarrow

    if attribute.type == "number":
        return pyarrow.array(_numbers(cells), pyarrow.float64())
    if attribute.type == "date":
        # One that is written otherwise would silently have no day: then all stay text.
        if all(_DATE.match(text) for cell in cells if (text := cell_text(cell))):
            return pyarrow.array([_day(cell) for cell in cells], pyarrow.date32())
    if attribute.type == "list":
        return pyarrow.array([_items(cell) for cell in cells], pyarrow.list_(pyarrow.string()))
    texts = [cell_text(cell) or None for cell in cells]
    return pyarrow.array(texts, pyarrow.string()).dictionary_encode()


def _numbers(cells: Sequence[Any]) -> list[float | None]:
    texts = [cell_text(cell) for cell in cells]
    commas = sum(bool(_COMMA_IS_DECIMAL.search(text)) for text in texts)
    points = sum(bool(_POINT_IS_DECIMAL.search(text)) for text in texts)
    drop, decimal = (".", ",") if commas > points else (",", ".")
    return [
        float(cell) if _is_plain(cell) else _number(text, drop, decimal)
        for cell, text in zip(cells, texts, strict=True)
    ]


def _is_plain(cell: Any) -> bool:
    return isinstance(cell, int | float) and not isinstance(cell, bool)


def _number(text: str, drop: str, decimal: str) -> float | None:
    found = _NUMBER.search(text)
    if not found:
        return None
    digits = re.sub(r"['’ \u00a0\u202f]", "", found[0]).replace(drop, "").replace(decimal, ".")
    try:
        return float(digits)
    except ValueError:
        return None


def _day(cell: Any) -> date | None:
    found = _DATE.match(cell_text(cell))
    try:
        return date(*map(int, found.groups())) if found else None
    except ValueError:
        return None


def _items(cell: Any) -> list[str] | None:
    """The items of a list, of its JSON, or between its separators."""
    if isinstance(cell, str) and cell.strip()[:1] == "[":
        try:
            cell = json.loads(cell)
        except (ValueError, RecursionError):
            return [cell.strip()]
    if isinstance(cell, Mapping):
        cell = list(cell)
    parts = cell if isinstance(cell, list | tuple) else LIST.split(cell_text(cell))
    return [text for part in parts if (text := cell_text(part))] or None
