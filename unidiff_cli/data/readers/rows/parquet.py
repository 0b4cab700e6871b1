"""A parquet table row by row: groups of rows that cannot be read cost themselves.

What it claims about its sizes is checked before it is unpacked, and what was unpacked is counted.
A file of kilobytes can hold one text a million times.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from unidiff_cli.config.prepare import Limits
from unidiff_cli.data.locations import Location
from unidiff_cli.data.readers.rows.cells import Cells, Record
from unidiff_cli.data.sample import Reason
from unidiff_cli.errors import WorkError

# Rows unpacked at a time, and bytes that these may be.
BATCH, BATCH_BYTES = 64, 1 << 28
# Bytes that any file may grow to, however small it is.
GROWTH = 1 << 28
# Rows of a group that are given up one by one.
GIVEN_UP = 1_000_000
EMPTIED = "cells with a value that Python has no type for, left empty"


def parquet_rows(
    file: Location, limits: Limits, notes: Counter[str], names: Sequence[str] | None = None
) -> Iterator[Record]:
    """The rows of a parquet; of these columns only, where they are named.

    Raises WorkError where the file as a whole is unreadable.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        with file.open() as stream, pyarrow.parquet.ParquetFile(stream) as table:
            groups = _Groups(table, stream, file.size, limits, names)
            classes = _class_names(table.schema_arrow.metadata or {})
            number = 0
            for group in range(table.metadata.num_row_groups):
                rows = table.metadata.row_group(group).num_rows
                for cells in groups.rows(group, rows, notes):
                    number += 1
                    yield number, cells if isinstance(cells, Reason) else _named(cells, classes)
    except (pyarrow.ArrowException, MemoryError) as problem:
        raise WorkError(f"{file} is not readable as parquet: {_first_line(problem)}.") from problem


def _class_names(metadata: Mapping[bytes, bytes]) -> dict[str, list[str]]:
    """The names of the classes of each column of class numbers, as Hugging Face datasets has them.

    Its features stand in the schema: https://huggingface.co/docs/datasets/about_dataset_features
    """
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        return {
            column: [str(name) for name in feature["names"]]
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    # Without such notes, or with damaged ones, numbers stay numbers.
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}


def _named(cells: Cells, classes: Mapping[str, list[str]]) -> Cells:
    """The cells of a row with the names of its classes."""
    for column, names in classes.items():
        number = cells.get(column)
        if isinstance(number, int) and 0 <= number < len(names):
            cells[column] = names[number]
    return cells


class _Groups:
    """The row groups of a table, unpacked within bounds."""

    def __init__(
        self,
        table: Any,
        stream: IO[bytes],
        size: int,
        limits: Limits,
        names: Sequence[str] | None,
    ) -> None:
        self._table, self._stream, self._limits = table, stream, limits
        self._names = names if names is None else list(names)
        # Bytes that may still be unpacked.
        self._left = GROWTH + limits.inflation * size

    def rows(self, group: int, count: int, notes: Counter[str]) -> Iterator[Cells | Reason]:
        """As many as the group has; those that cannot be read as the reason."""
        import pyarrow

        given, reason = 0, None
        try:
            for batch in self._batches(group):
                for cells in _cells(batch, notes):
                    given += 1
                    yield cells
        except _TooMuch:
            grown = f"{self._limits.inflation} times its size (prepare.limits.inflation)"
            reason = Reason(f"the file grows to more than {grown}")
        except (pyarrow.ArrowException, OSError, MemoryError) as problem:
            reason = Reason(f"its row group cannot be read: {_first_line(problem)}")
        if reason is None:
            return
        if count - given > GIVEN_UP:
            raise MemoryError(f"{reason.text}; it claims {count:,} rows")
        for _ in range(given, count):
            yield reason

    def _batches(self, group: int) -> Iterator[Any]:
        """Batches of a group's rows. Raises _TooMuch where they are too much."""
        metadata = self._table.metadata.row_group(group)
        columns = [metadata.column(n) for n in range(metadata.num_columns)]
        if self._names is not None:
            tops = tuple(f"{name}." for name in self._names)
            columns = [c for c in columns if f"{c.path_in_schema}.".startswith(tops)]
        if any(column.total_uncompressed_size > self._left for column in columns):
            raise _TooMuch
        row = sum(self._repeated(column, metadata.num_rows) for column in columns)
        batch_size = max(1, min(BATCH, BATCH_BYTES // max(1, row)))
        for batch in self._table.iter_batches(batch_size, [group], self._names):
            self._left -= batch.nbytes
            if self._left < 0:
                raise _TooMuch
            yield batch

    def _repeated(self, column: Any, rows: int) -> int:
        """Bytes that a row may get of a column which stores a value once for many rows."""
        if "DELTA_BYTE_ARRAY" in column.encodings:
            size = column.total_uncompressed_size
        elif column.has_dictionary_page:
            size = self._page_size(column.dictionary_page_offset)
        else:
            return 0
        return size * max(1, -(-column.num_values // max(1, rows)))

    def _page_size(self, offset: int) -> int:
        """Bytes of a page when unpacked: the second number of its header, after its type."""
        self._stream.seek(offset)
        header = io.BytesIO(self._stream.read(16))
        numbers = [_number(header) for _ in range(2)]
        return numbers[1]


def _cells(batch: Any, notes: Counter[str]) -> Iterator[Cells]:
    try:
        yield from batch.to_pylist()
    # Dates out of range, nanoseconds, text that is no UTF-8.
    except (ValueError, OverflowError, ImportError):
        for row in range(batch.num_rows):
            yield {
                name: _cell(column[row], notes)
                for name, column in zip(batch.schema.names, batch.columns, strict=True)
            }


def _cell(value: Any, notes: Counter[str]) -> Any:
    try:
        return value.as_py()
    except (ValueError, OverflowError, ImportError):
        notes[EMPTIED] += 1
        return None


def _number(header: IO[bytes]) -> int:
    """A field of Thrift's compact protocol: a byte that names it, a number of 7 bits a byte."""
    header.read(1)
    value = shift = 0
    for byte in iter(lambda: header.read(1), b""):
        value |= (byte[0] & 127) << shift
        shift += 7
        if byte[0] < 128:
            break
    # Zigzag: the sign is the lowest bit.
    return value >> 1


class _TooMuch(Exception):
    """The file grows to more than the recipe allows."""


def _first_line(problem: BaseException) -> str:
    return (str(problem).splitlines() or [type(problem).__name__])[0]
