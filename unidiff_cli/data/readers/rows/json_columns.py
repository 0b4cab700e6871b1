"""Tables that pandas wrote column by column, as its to_json does unless it is told otherwise.

columns:    {"image": {"0": "a.jpg", "1": …}, "caption": {"0": "red dress", "1": …}}
split:      {"columns": ["image", "caption"], "index": [0, 1], "data": [["a.jpg", "red dress"], …]}
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from unidiff_cli.data.columns import named
from unidiff_cli.data.readers.rows.cells import Cells
from unidiff_cli.data.sample import Reason


def is_by_column(value: Any) -> bool:
    """Whether an object holds the columns of a table."""
    return isinstance(value, dict) and (_is_split(value) or _is_columns(value))


def by_column(value: dict[str, Any]) -> Iterator[Cells | Reason]:
    """The rows of such an object."""
    if not _is_split(value):
        keys = dict.fromkeys(key for cells in value.values() for key in cells)
        yield from ({name: cells.get(key) for name, cells in value.items()} for key in keys)
        return
    names = value["columns"]
    for cells in value["data"]:
        if isinstance(cells, list) and len(cells) == len(names):
            yield dict(zip(names, cells, strict=True))
        else:
            yield Reason(f"not a list of {len(names):,} cells, one a column")


def _is_split(value: dict[str, Any]) -> bool:
    names, data = value.get("columns"), value.get("data")
    are_names = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return are_names and isinstance(data, list) and all(isinstance(row, list) for row in data[:1])


def _is_columns(value: dict[str, Any]) -> bool:
    """Whether values are cells by their row; the names of rows are the same in all columns."""
    if len(value) < 2 or not (named("image", value) or named("caption", value)):
        return False
    first = next(iter(value.values()))
    return all(
        isinstance(cells, dict) and len(cells) > 0 and cells.keys() == first.keys()
        for cells in value.values()
    )
