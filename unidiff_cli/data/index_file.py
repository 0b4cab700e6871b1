"""The index of shards in two files: one for everybody to read, and the same columns to be mapped.

`index.parquet` is small and must be decoded whole. `index.arrow` is not compressed, so a process
maps it and reads the rows it wants. Shards that were written before there was one have the first
only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from unidiff_cli.data.row import Row, encoded
from unidiff_cli.data.rows import Columns, Rows
from unidiff_cli.errors import Damaged
from unidiff_cli.project.receipt import Receipt, damage_of, record_of
from unidiff_cli.system import first_line

if TYPE_CHECKING:
    import pyarrow

INDEX, MAPPED = "index.parquet", "index.arrow"
# Rows that are written at a time: a row group, and a batch of the mapped file.
BLOCK = 16_384
# Rows that are objects at a time.
PIECE = 1024
REDO = "Run again: unidiff prepare --force"


def write_index(folder: Path, rows: Iterable[Row]) -> str:
    """Writes both files, of rows in the order of their keys; returns the sha256 of the first."""
    import pyarrow.ipc
    import pyarrow.parquet

    schema = encoded([]).schema
    with (
        pyarrow.parquet.ParquetWriter(folder / INDEX, schema, compression="zstd") as parquet,
        pyarrow.OSFile(str(folder / MAPPED), "wb") as stream,
        pyarrow.ipc.new_file(stream, schema) as mapped,
    ):
        pieces = _pieces(rows)
        while block := list(islice(pieces, max(1, BLOCK // PIECE))):
            # In one piece, as a row group of it is written.
            table = pyarrow.concat_tables(block).combine_chunks()
            del block
            parquet.write_table(table)
            mapped.write_table(table)
            # Arrow keeps for itself what a block took, and the next one takes more.
            del table
            pyarrow.default_memory_pool().release_unused()
    return record_of(folder / INDEX).sha256


def read_index(folder: Path, receipt: Receipt) -> Rows:
    """All rows, in the order of their keys. Raises Damaged for files that the receipt denies."""
    import pyarrow

    try:
        for name in dict.fromkeys((INDEX, *(n for n in receipt.files if n == MAPPED))):
            record = receipt.files.get(name)
            reason = damage_of(folder / name, record) if record else "is not in its receipt"
            if reason:
                raise Damaged(f"{folder / name} {reason}.", REDO)
        file = RowFile.of(folder / (MAPPED if MAPPED in receipt.files else INDEX))
        return Rows(Columns(file.batches(), file))
    except (OSError, pyarrow.ArrowException) as problem:
        raise Damaged(f"{folder / INDEX} cannot be read: {first_line(problem)}.", REDO) from problem


@dataclass(frozen=True)
class RowFile:
    """A file of rows as it was when it was opened first; other processes open it for themselves."""

    path: Path
    size: int
    # Nanoseconds of its last change.
    changed: int

    @classmethod
    def of(cls, path: Path) -> RowFile:
        status = path.stat()
        return cls(path, status.st_size, status.st_mtime_ns)

    def batches(self) -> list[pyarrow.RecordBatch]:
        """The columns in pieces. Raises Damaged where the file is another one by now."""
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet

        if RowFile.of(self.path) != self:
            raise Damaged(f"{self.path} has changed since this command began.", "Run it again.")
        if self.path.name != MAPPED:
            return pyarrow.parquet.read_table(self.path).to_batches()
        reader = pyarrow.ipc.open_file(pyarrow.memory_map(str(self.path)))
        return [reader.get_batch(number) for number in range(reader.num_record_batches)]


def _pieces(rows: Iterable[Row]) -> Iterator[pyarrow.Table]:
    rest, last = iter(rows), ""
    while piece := list(islice(rest, min(PIECE, BLOCK))):
        keys = [last, *(row.key for row in piece)]
        assert all(a < b for a, b in zip(keys, keys[1:], strict=False))
        last = keys[-1]
        yield encoded(piece)
