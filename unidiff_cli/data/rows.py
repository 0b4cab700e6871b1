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


class Rows(Sequence[Row]):
    """Rows as Arrow columns, or a choice of them: a row is made where it is asked for.

    Slices and `take` share the columns, at 4 bytes a row. Where there is a `source`, a pickle holds
    it in place of the columns.
    """

    def __init__(
        self,
        batches: Sequence[pyarrow.RecordBatch],
        source: Source | None = None,
    ) -> None:
        import numpy as np

        self._source = source
        self._open(batches)
        # (n,) which rows of the batches these are.
        self._numbers: np.ndarray = np.arange(self._starts[-1], dtype=np.int32)
        # One list for each of them, in the place of their own; None: their own.
        self._captions: pyarrow.ListArray | None = None

    def _open(self, batches: Sequence[pyarrow.RecordBatch]) -> None:
        self._batches = [batch for batch in batches if len(batch)]
        self._columns = [batch.columns for batch in self._batches]
        self._names = self._batches[0].schema.names if self._batches else []
        self._starts = [0]
        for batch in self._batches:
            self._starts.append(self._starts[-1] + len(batch))

    def __getstate__(self) -> dict[str, Any]:
        import numpy as np

        whole = np.array_equal(self._numbers, np.arange(self._starts[-1]))
        return {
            "source": self._source,
            "batches": self._batches if self._source is None else None,
            "numbers": None if whole else self._numbers,
            "captions": self._captions,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        source = state["source"]
        Rows.__init__(self, state["batches"] if source is None else source.batches(), source)
        self._captions = state["captions"]
        if state["numbers"] is not None:
            self._numbers = state["numbers"]

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
        batch, place = self._place(index)
        cells = [column[place].as_py() for column in self._columns[batch]]
        row = decoded_row(self._names, cells)
        return row if self._captions is None else replace(row, captions=self._own_captions(index))

    def __iter__(self) -> Iterator[Row]:
        for start in range(0, len(self), PIECE):
            table = self[start : start + PIECE].table()
            for cells in zip(*(column.to_pylist() for column in table.columns), strict=True):
                yield decoded_row(table.column_names, cells)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(ours == theirs for ours, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def cell(self, index: int, name: str) -> Any:
        """One field of one row."""
        if name == "captions" and self._captions is not None:
            return self._own_captions(index)
        batch, place = self._place(index)
        return decoded(name, self._columns[batch][self._names.index(name)][place].as_py())

    def _place(self, index: int) -> tuple[int, int]:
        number = int(self._numbers[index])
        batch = bisect_right(self._starts, number) - 1
        return batch, number - self._starts[batch]

    def _own_captions(self, index: int) -> tuple[str, ...]:
        assert self._captions is not None
        return tuple(self._captions[range(len(self))[index]].as_py())

    # ------------------------------------------------------------ choices

    def take(self, indices: Sequence[int] | np.ndarray) -> Rows:
        """The rows of these indices, in this order."""
        import numpy as np

        indices = np.asarray(indices, np.int64)
        captions = None if self._captions is None else self._captions.take(indices)
        return self._view(self._numbers[indices], captions)

    def where(self, name: str, value: str) -> Rows:
        """The rows whose field is a value."""
        import numpy as np
        import pyarrow.compute as pc

        masks = [
            pc.equal(batch.column(name), value).to_numpy(zero_copy_only=False)
            for batch in self._batches
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
        return self._view(self._numbers, texts)

    def joined(self, other: Rows) -> Rows:
        """These rows, then those of another choice of the same columns."""
        import numpy as np

        assert self._batches is other._batches and self._captions is other._captions is None
        return self._view(np.concatenate([self._numbers, other._numbers]), None)

    def _view(self, numbers: np.ndarray, captions: pyarrow.ListArray | None) -> Rows:
        rows = object.__new__(Rows)
        vars(rows).update(vars(self), _numbers=numbers, _captions=captions)
        return rows

    # ------------------------------------------------------------ columns

    def table(self, names: Sequence[str] | None = None) -> pyarrow.Table:
        """These rows as an Arrow table, of all fields or of some."""
        import numpy as np
        import pyarrow

        names = list(self._names if names is None else names)
        if not len(self):
            return encoded([]).select(names) if names else encoded([])
        pieces = np.searchsorted(self._starts, self._numbers, "right") - 1
        order = np.argsort(pieces, kind="stable")
        parts = []
        for piece in np.unique(pieces):
            places = self._numbers[order[pieces[order] == piece]] - self._starts[piece]
            parts.append(self._batches[piece].select(names).take(pyarrow.array(places)))
        table = pyarrow.Table.from_batches(parts)
        if np.any(order[1:] < order[:-1]):
            table = table.combine_chunks().take(pyarrow.array(np.argsort(order)))
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
