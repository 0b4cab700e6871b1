"""Shards: tars that webdataset and tar read, and an index of where every byte is and what it is.

A shard is a tar with `000000123.jpg` and `000000123.json` for each sample. `index.parquet` has one
row a sample with offset, size and CRC of both members, so a sample is one `pread`, and damage costs
the samples that it hits and no other.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from unidiff_cli.addresses import scheme_of
from unidiff_cli.data.index_file import REDO, read_index, write_index
from unidiff_cli.data.row import Row
from unidiff_cli.data.rows import Rows, column_of
from unidiff_cli.data.tars import LocalTars, StoredTars, Tars
from unidiff_cli.errors import Damaged, NotReady
from unidiff_cli.project.files import link
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import FileRecord, Receipt

BLOCK = 512


def resplit(
    shards: Shards, folder: Path, split: Callable[[Row], str]
) -> tuple[dict[str, FileRecord], str]:
    """Fills a folder with the same samples in other splits; the tars' records, the index's sha256.

    The tars are linked, only the index is new. Raises NotReady where they lie elsewhere.
    """
    shards.require_tars()
    tars = {name: shards.receipt.files[name] for name in tars_of(shards.receipt)}
    for name in tars:
        link(shards.folder / name, folder / name)
    rows = (replace(row, split=split(row)) for row in shards.rows())
    return tars, write_index(folder, rows)


class Shards:
    """Finished shards, opened for reading. Threads and forked processes may share one."""

    def __init__(self, folder: Path, receipt: Receipt, tars: Tars | None = None) -> None:
        """`tars` are those of the folder, or lie elsewhere."""
        self.folder, self.receipt = folder, receipt
        self.tars = tars or LocalTars(folder)

    @classmethod
    def open(cls, folder: str | os.PathLike[str], *, read: bool = True) -> Shards:
        """Reads the index; without `read` only when its rows are asked for.

        Raises NotReady without a receipt, Damaged where it names another index.
        """
        folder = Path(folder)
        receipt = Receipt.read(folder)
        if receipt is None:
            raise NotReady(
                f"{folder} has no receipt, so prepare did not finish.",
                "Run: unidiff prepare CATALOGUE",
            )
        shards = cls(folder, receipt)
        if read:
            shards.rows()
        return shards

    @classmethod
    def of(cls, project: Project, *, read: bool = True) -> Shards:
        """The shards of a project, whose tars may lie at its storage alone. Raises as above."""
        project.bring("shards")
        shards = cls.open(project.path("shards"), read=read)
        if project.storage and not shards.has_tars():
            shards.tars = StoredTars(project.storage, "shards", shards.receipt.files)
        return shards

    def has_tars(self) -> bool:
        """Whether all tars lie in the folder."""
        return all((self.folder / name).exists() for name in tars_of(self.receipt))

    def require_tars(self) -> None:
        """Raises NotReady where they lie elsewhere."""
        if not self.has_tars():
            raise NotReady(
                f"The tars of {self.folder} lie at the project's storage alone.",
                "Fetch them: unidiff storage --fetch shards",
            )

    @cached_property
    def _rows(self) -> Rows:
        return read_index(self.folder, self.receipt)

    def rows(self, split: str | None = None) -> Rows:
        """The samples of a split, or all, in key order."""
        return self._rows if split is None else self._rows.where("split", split)

    def image_address(self, row: Row) -> str:
        """Where the image of a row lay: its path or address, "" where that is none.

        Relative to the catalogue where that is no longer there.
        """
        catalogue = str(self.receipt.settings.get("catalogue", {}).get("path", ""))
        if not row.path or scheme_of(row.path):
            return row.path
        if scheme_of(catalogue):
            return f"{catalogue}/{row.path}"
        folder = Path(catalogue)
        return str(folder / row.path) if folder.is_absolute() and folder.exists() else row.path

    def image_bytes(self, row: Row) -> bytes:
        """The image's bytes, checked. Raises Damaged."""
        place = row.image_offset, row.image_size, row.image_crc
        return self._member(row.shard, row.key, *place, "image")

    def images(self, rows: Sequence[Row]) -> Iterator[bytes]:
        """The images of many rows, checked; no row is made for it. Raises Damaged."""
        names = ("shard", "key", "image_offset", "image_size", "image_crc")
        columns = (column_of(rows, name) for name in names)
        for shard, key, offset, size, crc in zip(*columns, strict=True):
            yield self._member(shard, key, offset, size, crc, "image")

    def json_bytes(self, row: Row) -> bytes:
        """The bytes of the sample's .json, checked. Raises Damaged."""
        place = row.json_offset, row.json_size, row.json_crc
        return self._member(row.shard, row.key, *place, "text")

    def span_bytes(self, first: Row, last: Row) -> bytes:
        """A piece of a tar: all members from one sample to another of its shard, unchecked.

        It ends early where the shard does. Raises Damaged where the shard cannot be read.
        """
        start, end = first.image_offset - BLOCK, last.json_offset + last.json_size
        return self._read(first.shard, start, end + -end % BLOCK - start)

    def row(self, key: str) -> Row | None:
        """The sample of a key; None where there is none."""
        return self._rows.find(key)

    def _member(self, shard: str, key: str, offset: int, size: int, crc: int, what: str) -> bytes:
        data = self._read(shard, offset, size)
        check(self.tars.place(shard), key, what, data, size, crc)
        return data

    def _read(self, shard: str, offset: int, size: int) -> bytes:
        """Bytes of a shard, fewer where it ends. Raises Damaged where it cannot be read."""
        try:
            return self.tars.read(shard, offset, size)
        except OSError as problem:
            reason = problem.strerror or str(problem)
            raise Damaged(f"{self.tars.place(shard)} cannot be read: {reason}.", REDO) from problem

    def close(self) -> None:
        self.tars.close()


def tars_of(receipt: Receipt) -> list[str]:
    """The names of the tars of finished shards."""
    return [name for name in receipt.files if name.endswith(".tar")]


def check(place: str, key: str, what: str, data: bytes, size: int, crc: int) -> None:
    """Raises Damaged where the bytes of a sample's member are not those that were written."""
    if len(data) != size or zlib.crc32(data) != crc:
        raise Damaged(f"{place}: the {what} of sample {key} is damaged.", REDO)
