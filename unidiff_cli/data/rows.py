"""The rows of prepared samples as Arrow columns.

A million rows as objects are 3.4 GB. As columns of a mapped file they are the pages that somebody
reads, and all processes share them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, overload

from unidiff_cli.data.row import Row, arrow_type, decoded, decoded_row, encoded

if TYPE_CHECKING:
    import numpy as np
    import pyarrow

# Rows that are decoded at a time where all are gone through.
PIECE = 1024


class Source(Protocol):
    """Where another process finds the same columns; it can be pickled."""

    def batches(self) -> Sequence[pyarrow.RecordBatch]:
        """The columns, in pieces."""


class Columns:
    """The fields of all rows of a table, as Arrow record batches.

    Where there is a `source`, a pickle holds it in place of the batches.
    """

    def __init__(
        self, batches: Sequence[pyarrow.RecordBatch], source: Source | None = None
    ) -> None:
        self.source = source
        self.batches = [batch for batch in batches if len(batch)]
        self.names: list[str] = self.batches[0].schema.names if self.batches else []
        # The number of the first row of each batch, and that of all rows.
        self.starts = [0]
        for batch in self.batches:
            self.starts.append(self.starts[-1] + len(batch))
        self._arrays = [batch.columns for batch in self.batches]

    def __len__(self) -> int:
        return self.starts[-1]

    def __getstate__(self) -> dict[str, Any]:
        return {"source": self.source, "batches": None if self.source else self.batches}

    def __setstate__(self, state: dict[str, Any]) -> None:
        source = state["source"]
        Columns.__init__(self, source.batches() if source else state["batches"], source)

    def cells(self, number: int) -> list[Any]:
        """All fields of one row."""
        batch = bisect_right(self.starts, number) - 1
        return [array[number - self.starts[batch]].as_py() for array in self._arrays[batch]]

    def cell(self, number: int, name: str) -> Any:
        """One field of one row."""
        batch = bisect_right(self.starts, number) - 1
        array = self._arrays[batch][self.names.index(name)]
        return array[number - self.starts[batch]].as_py()

    def table(self, numbers: np.ndarray, names: Sequence[str]) -> pyarrow.Table:
        """Some fields of the rows of these numbers (n,), one at least, in this order."""
        import numpy as np
        import pyarrow

        pieces = np.searchsorted(self.starts, numbers, "right") - 1
        order = np.argsort(pieces, kind="stable")
        parts = []
        for piece in np.unique(pieces):
            places = numbers[order[pieces[order] == piece]] - self.starts[piece]
            parts.append(self.batches[piece].select(list(names)).take(pyarrow.array(places)))
        table = pyarrow.Table.from_batches(parts)
        if np.any(order[1:] < order[:-1]):
            table = table.combine_chunks().take(pyarrow.array(np.argsort(order)))
        return table


class Rows(Sequence[Row]):
    """Rows as columns, or a choice of them: a row is made where it is asked for.

    Slices and `take` share the columns, at 4 bytes a row.
    """

    def __init__(
        self,
        columns: Columns,
        numbers: np.ndarray | None = None,
        captions: pyarrow.ListArray | None = None,
    ) -> None:
        """`numbers` (n,) int32 say which rows of the columns these are, by default all.

        `captions`, one list for each of them, stand in the place of their own.
        """
        import numpy as np

        self._columns, self._captions = columns, captions
        self._numbers = np.arange(len(columns), dtype=np.int32) if numbers is None else numbers

    def __reduce__(self) -> tuple[Any, ...]:
        import numpy as np

        whole = np.array_equal(self._numbers, np.arange(len(self._columns)))
        return Rows, (self._columns, None if whole else self._numbers, self._captions)

    # ------------------------------------------------------------ a sequence

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> Rows: ...

    def __getitem__(self, index: int | slice) -> Row | Rows:
        if isinstance(index, slice):
            return self.take(range(len(self))[index])
        cells = self._columns.cells(int(self._numbers[index]))
        row = decoded_row(self._columns.names, cells)
        return row if self._captions is None else replace(row, captions=self._own_captions(index))

    def __iter__(self) -> Iterator[Row]:
        for start in range(0, len(self), PIECE):
            table = self[start : start + PIECE].table()
            # Arrow makes the list of names anew whenever it is asked.
            names = table.column_names
            for cells in zip(*(column.to_pylist() for column in table.columns), strict=True):
                yield decoded_row(names, cells)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(ours == theirs for ours, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def cell(self, index: int, name: str) -> Any:
        """One field of one row."""
        if name == "captions" and self._captions is not None:
            return self._own_captions(index)
        return decoded(name, self._columns.cell(int(self._numbers[index]), name))

    def _own_captions(self, index: int) -> tuple[str, ...]:
        assert self._captions is not None
        return tuple(self._captions[range(len(self))[index]].as_py())

    # ------------------------------------------------------------ choices

    def take(self, indices: Sequence[int] | np.ndarray) -> Rows:
        """The rows of these indices, in this order."""
        import numpy as np

        indices = np.asarray(indices, np.int64)
        captions = None if self._captions is None else self._captions.take(indices)
        return Rows(self._columns, self._numbers[indices], captions)

    def where(self, name: str, value: str) -> Rows:
        """The rows whose field is a value."""
        import numpy as np
        import pyarrow.compute as pc

        masks = [
            pc.equal(batch.column(name), value).to_numpy(zero_copy_only=False)
            for batch in self._columns.batches
        ]
        mask = np.concatenate([np.zeros(0, bool), *masks])
        return self.take(np.flatnonzero(mask[self._numbers]))

    def find(self, key: str) -> Row | None:
        """The row of a key, of rows in the order of their keys; None where there is none."""
        place = bisect_left(range(len(self)), key, key=lambda index: self.cell(index, "key"))
        row = self[place] if place < len(self) else None
        return row if row and row.key == key else None

    def with_captions(self, captions: Iterable[Sequence[str]]) -> Rows:
        """The same rows with other captions, some for each."""
        import pyarrow

        texts = pyarrow.array(map(list, captions), arrow_type("captions"))
        assert len(texts) == len(self)
        return Rows(self._columns, self._numbers, texts)

    def joined(self, other: Rows) -> Rows:
        """These rows, then those of another choice of the same columns."""
        import numpy as np

        assert self._columns is other._columns and self._captions is other._captions is None
        return Rows(self._columns, np.concatenate([self._numbers, other._numbers]))

    # ------------------------------------------------------------ columns

    def table(self, names: Sequence[str] | None = None) -> pyarrow.Table:
        """These rows as an Arrow table, of all fields or of some."""
        names = list(self._columns.names if names is None else names)
        if not len(self):
            return encoded([]).select(names) if names else encoded([])
        table = self._columns.table(self._numbers, names)
        if self._captions is not None and "captions" in names:
            table = table.set_column(names.index("captions"), "captions", self._captions)
        return table


class Column(Sequence[Any]):
    """One field of each row, decoded where it is asked for."""

    def __init__(self, rows: Rows, name: str) -> None:
        self._rows, self._name = rows, name

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Column(self._rows[index], self._name)
        return self._rows.cell(index, self._name)

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(self), PIECE):
            [cells] = self._rows[start : start + PIECE].table([self._name]).columns
            for cell in cells.to_pylist():
                yield decoded(self._name, cell)


# ---------------------------------------------------------------- of any sequence of rows


def column_of(rows: Sequence[Row], name: str) -> Sequence[Any]:
    """One field of each row; of columns no row is made for it."""
    return Column(rows, name) if isinstance(rows, Rows) else [getattr(row, name) for row in rows]


def taken(rows: Sequence[Row], indices: Sequence[int] | np.ndarray) -> Sequence[Row]:
    """The rows of these indices, in this order."""
    return rows.take(indices) if isinstance(rows, Rows) else [rows[int(i)] for i in indices]


def joined(first: Sequence[Row], second: Sequence[Row]) -> Sequence[Row]:
    """Rows and then others, of one catalogue."""
    if isinstance(first, Rows) and isinstance(second, Rows):
        return first.joined(second)
    return [*first, *second]


def with_captions(rows: Sequence[Row], captions: Sequence[tuple[str, ...]]) -> Sequence[Row]:
    """The same rows with other captions, some for each."""
    if isinstance(rows, Rows):
        return rows.with_captions(captions)
    return [replace(row, captions=own) for row, own in zip(rows, captions, strict=True)]


def table_of(rows: Sequence[Row]) -> pyarrow.Table:
    """Rows as an Arrow table, a column for each field; attributes as JSON."""
    return rows.table() if isinstance(rows, Rows) else encoded(rows)
