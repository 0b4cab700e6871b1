"""Rows of a table as cells, and objects of JSON as rows: strict, bounded by a recipe's limits."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

from unidiff_cli.config.prepare import Limits
from unidiff_cli.data.captions import MISSING, is_missing, well_formed
from unidiff_cli.data.sample import Cause, Reason

Cells = dict[str, Any]
# A row's number with its cells, or with why it has none.
Record = tuple[int, Cells | Reason]

# Their first letters; "" is no word for nothing.
_FIRST = frozenset(letter for word in MISSING for letter in word[0] + word[0].upper()) | {" "}
# With a few blanks in and around it.
_LONGEST = max(map(len, MISSING)) + 6
NO_NUMBERS = "values that are NaN or Infinity, read as empty"


def missing_note(column: str) -> str:
    """The note under which the missing values of a column are counted."""
    return f"cells of '{column}' that say nan, None, N/A or the like, read as empty"


def without_missing(cells: Cells, notes: Counter[str]) -> Cells:
    """A row whose words for nothing are nothing; they are counted by column."""
    # A plain loop: it runs for every row of every table.
    for column, cell in cells.items():
        is_short = (
            isinstance(cell, str)
            and cell[:1] in _FIRST
            and len(cell) <= _LONGEST
            and not cell.isspace()
        )
        if is_short and is_missing(cell):
            notes[missing_note(column)] += 1
            cells[column] = None
    return cells


def decoder(notes: Counter[str]) -> json.JSONDecoder:
    """JSON as Python and pandas write it: NaN and Infinity are nothing, and counted."""

    def nothing(word: str) -> None:
        notes[NO_NUMBERS] += 1

    return json.JSONDecoder(parse_constant=nothing)


def parse(text: str) -> Any:
    """Strict JSON: no NaN, no Infinity. Raises ValueError."""
    try:
        return json.loads(text, parse_constant=refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def refuse_constant(word: str) -> Any:
    """What strict JSON makes of NaN and Infinity. Raises ValueError."""
    raise ValueError(f"{word} is not JSON")


def cells_of(value: Any) -> Cells | Reason:
    """A value of JSON as a row."""
    if not isinstance(value, dict):
        return Reason(f"a JSON {type(value).__name__}, not an object")
    return value if all(map(str.isascii, value)) else {well_formed(k): v for k, v in value.items()}


def not_json(problem: ValueError) -> Reason:
    return Reason(f"not JSON: {problem}", Cause.NOT_JSON)


def bounded(cells: Cells, limits: Limits) -> Cells | Reason:
    """A row, or what it has too much of."""
    if len(cells) > limits.columns:
        return Reason(f"more than {limits.columns:,} columns (prepare.limits.columns)")
    size = 0
    # A plain loop: it runs for every row of every table.
    for cell in cells.values():
        if isinstance(cell, str):
            size += len(cell)
        elif isinstance(cell, dict | list | tuple) and _is_deeper(cell, limits.depth):
            return Reason(f"nested more than {limits.depth} deep (prepare.limits.depth)")
    if size > limits.row:
        return Reason(f"longer than {limits.row:,} characters (prepare.limits.row)")
    return cells


def plain(value: Any) -> Any:
    """A cell as strict JSON can hold it: no NaN, no bytes, no lone surrogates, dates as text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes | bytearray):
        return None
    if isinstance(value, dict):
        return {well_formed(str(k)): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return str(value)


def _is_deeper(value: dict[str, Any] | list[Any] | tuple[Any, ...], most: int) -> bool:
    """Whether lists and objects lie more than so many deep in each other."""
    if most == 0:
        return True
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, dict | list | tuple) and _is_deeper(item, most - 1):
            return True
    return False
