"""The catalogue's rows as an index holds them: Arrow columns that are mapped, not read.

Opening takes as long for a million rows as for one. A hit reads its own row, a filter its columns.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.compute as pc
import pyarrow.ipc

from unidiff_cli.data.attributes import Attribute, infer
from unidiff_cli.data.row import Row
from unidiff_cli.data.rows import Columns, Rows, column_of, table_of
from unidiff_cli.data.typed_columns import typed_columns
from unidiff_cli.errors import Damaged, UsageError, nearest
from unidiff_cli.system import first_line

FILE = "items.arrow"
# Rows of a block; a hit's row is found within its block.
BLOCK = 16_384
# Before the name of an attribute, so that it is no field of a row.
PREFIX = "@"
# What a filter may ask of every row, and the field that answers it.
FIELDS = {"id": "id", "product": "group", "split": "split", "path": "path"}
# Those of them that many rows share, held once each.
CODED = ("group", "split")
REDO = "Run: unidiff index --force"


def write_items(
    folder: Path, rows: Sequence[Row], attributes: Mapping[str, Attribute] | None
) -> None:
    """Writes the rows with their attributes as typed columns, found here where not given."""
    cells = column_of(rows, "attributes")
    known = infer(cells) if attributes is None else attributes
    typed = {PREFIX + name: column for name, column in typed_columns(cells, known).items()}
    coded = {name: pyarrow.array(column_of(rows, name), "string") for name in CODED}
    columns = {name: column.dictionary_encode() for name, column in coded.items()} | typed
    # In blocks, so that no second copy of all rows is held; an empty one tells what columns are.
    starts = range(0, max(len(rows), 1), BLOCK)
    blocks = (_block(rows[start : start + BLOCK], columns, start) for start in starts)
    with pyarrow.OSFile(str(folder / FILE), "wb") as file:
        first = next(blocks)
        with pyarrow.ipc.new_file(file, first.schema) as writer:
            for block in chain([first], blocks):
                writer.write_table(block, max_chunksize=BLOCK)


def _block(rows: Sequence[Row], columns: Mapping[str, pyarrow.Array], start: int) -> pyarrow.Table:
    """Rows as a table, with columns of all rows in the place of their own and behind them."""
    table = table_of(rows)
    for name, column in columns.items():
        part = column[start : start + len(rows)]
        if name in table.column_names:
            table = table.set_column(table.column_names.index(name), name, part)
        else:
            table = table.append_column(name, part)
    return table


class Items:
    """The rows of an index, by their number among its embeddings."""

    def __init__(self, table: pyarrow.Table) -> None:
        self._table = table
        ours = [name for name in table.column_names if not name.startswith(PREFIX)]
        self._rows = Rows(Columns(table.select(ours).to_batches()))

    @classmethod
    def open(cls, folder: Path) -> Items:
        """The rows that `write_items` wrote. Raises Damaged for any other file."""
        try:
            file = pyarrow.memory_map(str(folder / FILE))
            return cls(pyarrow.ipc.open_file(file).read_all())
        except (OSError, pyarrow.ArrowException) as problem:
            raise Damaged(
                f"{folder / FILE} is not what was written: {first_line(problem)}.", REDO
            ) from problem

    def __len__(self) -> int:
        return len(self._table)

    def rows(self, numbers: Iterable[int]) -> list[Row]:
        """The rows of these numbers."""
        return [self._rows[number] for number in numbers]

    def number(self, name: str) -> int | None:
        """The number of the row of an id; None where there is none."""
        ids, order = self._table["id"], self._by_id
        place = bisect_left(order, name, key=lambda number: ids[int(number)].as_py())
        number = int(order[place]) if place < len(order) else -1
        return number if number >= 0 and ids[number].as_py() == name else None

    @cached_property
    def _by_id(self) -> np.ndarray:
        """The numbers (N,) of the rows in the order of their ids.

        Arrow orders texts by their bytes, Python by their characters: in UTF-8 it is the same.
        """
        return pc.sort_indices(self._table["id"]).to_numpy()

    def contents(self) -> list[str]:
        """The sha256 of each image's bytes."""
        return self._table["content"].to_pylist()

    def types(self) -> dict[str, str]:
        """What an attribute holds, by its name: text or lists of it, numbers, or days."""
        return {name: _type_of(self._table[PREFIX + name].type) for name in self.attributes}

    def typed(self, start: int, size: int) -> list[dict[str, Any]]:
        """The attributes of `size` rows from `start` on as JSON can hold them, days as 2026-11-27.

        Those that a row has no value of are left out.
        """
        names = self.attributes
        columns = [self._table[PREFIX + name].slice(start, size).to_pylist() for name in names]
        rows = zip(*columns, strict=True) if names else [()] * size
        return [
            {name: _plain(cell) for name, cell in zip(names, cells, strict=True) if _is_value(cell)}
            for cells in rows
        ]

    @property
    def attributes(self) -> list[str]:
        """The names of the attributes."""
        return [n.removeprefix(PREFIX) for n in self._table.column_names if n.startswith(PREFIX)]

    def column(self, name: str) -> pyarrow.ChunkedArray:
        """An attribute, or a field that every row has; its name may be in another case.

        Raises UsageError for any other, naming the nearest.
        """
        places = {**FIELDS, **{each: PREFIX + each for each in self.attributes}}
        wanted = name if name in places else _alike(name, places)
        if wanted is None:
            raise UsageError(
                f"The catalogue has no column '{name}'.{nearest(name, places)}",
                f"Its columns: {', '.join(sorted(places))}.",
            )
        return self._table[places[wanted]]

    @cached_property
    def groups(self) -> np.ndarray:
        """(N,) int32: equal for the images of one product, as prepare found them."""
        return _codes(self._table[FIELDS["product"]])

    def codes(self, name: str) -> np.ndarray:
        """(N,) int32: equal for rows of an equal value of a column; −1 where there is none.

        Raises UsageError for an unknown column, and one of lists.
        """
        column = self.column(name)
        if pyarrow.types.is_list(column.type):
            raise UsageError(
                f"'{name}' holds lists, so its rows form no groups.", "Name another column."
            )
        return _codes(column)


def _type_of(column: pyarrow.DataType) -> str:
    if pyarrow.types.is_floating(column):
        return "number"
    return "date" if pyarrow.types.is_date(column) else "text"


def _is_value(cell: Any) -> bool:
    """Whether JSON has it: no null, and no number such as 1e999."""
    return cell is not None and not (isinstance(cell, float) and not math.isfinite(cell))


def _plain(cell: Any) -> Any:
    return cell.isoformat() if isinstance(cell, date) else cell


def _codes(column: pyarrow.ChunkedArray) -> np.ndarray:
    if not pyarrow.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    chunks = column.unify_dictionaries().chunks
    parts = [chunk.indices.fill_null(-1).to_numpy() for chunk in chunks]
    return np.concatenate([np.zeros(0, np.int32), *parts])


def _alike(name: str, places: Iterable[str]) -> str | None:
    """The one column of this name in another case; None for none and for several."""
    found = [each for each in places if each.casefold() == name.casefold()]
    return found[0] if len(found) == 1 else None
