"""A table that names images: CSV, TSV, JSON lines, JSON or parquet, alone or in a folder."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from itertools import islice
from pathlib import PurePosixPath

from unidiff_cli.config.schema import Prepare
from unidiff_cli.data import captions
from unidiff_cli.data.addresses import scheme_of, without_secrets
from unidiff_cli.data.locations import InMemory, Location, shown
from unidiff_cli.data.readers import Reader, _tables
from unidiff_cli.data.readers._cells import Cells, plain
from unidiff_cli.data.readers._table_columns import (
    TableColumns,
    file_name,
    image_bytes,
    without_bytes,
)
from unidiff_cli.data.sample import Cause, Extent, Reason, Rejected, Sample
from unidiff_cli.errors import UsageError

# Rows looked at to understand a table, and characters of their cells.
HEAD, HEAD_SIZE = 1000, 1 << 26
# What the table of a folder is usually called.
NAMED = (
    "captions",
    "metadata",
    "catalog",
    "catalogue",
    "products",
    "items",
    "dataset",
    "data",
    "styles",
)
_DRIVE = re.compile(r"[a-zA-Z]:[\\/]")


class Table(Reader):
    """The rows of one table, images read from below its folder."""

    def __init__(self, location: Location, options: Prepare) -> None:
        super().__init__(find(location) or location, options)
        if self.location.is_folder():
            raise UsageError(
                f"{location} holds no table.", f"Known endings: {', '.join(_tables.SUFFIXES)}."
            )
        self.columns = TableColumns(self.location, self._head(), options)

    @classmethod
    def accepts(cls, location: Location) -> bool:
        return find(location) is not None

    def describe(self) -> list[str]:
        kind = self.location.suffix[1:]
        if kind in ("csv", "tsv"):
            sep = _tables.SEPARATORS[_tables.separator(self.location, self.options.limits)]
            kind += f", columns separated by a {sep}"
        return [f"{self.location.name}: {kind}", *self.columns.describe(), *self.peek()]

    def decisions(self) -> dict[str, str]:
        return self.columns.decisions()

    def __iter__(self) -> Iterator[Sample | Rejected]:
        self._begin_pass()
        for number, cells in _tables.read(self.location, self.options.limits, self.notes):
            row = f"{shown(self.location.name)}:{number}"
            if isinstance(cells, Reason):
                yield Rejected(row, cells)
            elif self._keeps(cells):
                yield self._sample(row, cells)

    def extent(self) -> Extent:
        if not self.columns.holds_images():
            return super().extent()
        # With the images inside the table its own size and time say it all.
        import pyarrow.parquet

        stat = self.location.stat()
        with self.location.open() as stream:
            rows = pyarrow.parquet.ParquetFile(stream).metadata.num_rows
        return Extent(f"{stat.size:x}-{stat.version}", rows, stat.size)

    def _head(self) -> list[Cells]:
        """The first rows, without the images in them."""
        head, size = [], 0
        for _, cells in islice(_tables.read(self.location, self.options.limits), HEAD):
            if not isinstance(cells, Reason):
                head.append(without_bytes(cells))
                size += sum(len(cell) for cell in cells.values() if isinstance(cell, str))
                if size > HEAD_SIZE:
                    break
        return head

    # ---- one row

    def _sample(self, row: str, cells: Cells) -> Sample | Rejected:
        cell = self.columns.cell("image", cells)
        data = image_bytes(cell)
        path = "" if data else without_secrets(shown(file_name(cell)))
        image = InMemory(row, data) if data else self._locate(file_name(cell))
        if isinstance(image, Reason):
            return Rejected(row, image, path)
        texts = self._texts(cells)
        if isinstance(texts, Reason):
            return Rejected(row, texts, path)
        id_, product, split = (
            captions.cell_text(self.columns.cell(role, cells))
            for role in ("id", "product", "split")
        )
        roles = self.columns.roles
        dropped = (roles["image"], None if self.options.caption else roles["caption"])
        return Sample(
            row,
            image,
            texts,
            attributes={k: plain(v) for k, v in cells.items() if k not in dropped},
            id=id_ or None,
            product=product or None,
            split=self._split(split),
        )

    def _texts(self, cells: Cells) -> tuple[str, ...] | Reason:
        """The captions of a row, or why there are none."""
        column = self.columns.roles["caption"]
        try:
            if self.options.caption:
                texts = self._captions([captions.fill(self.options.caption, cells)])
            else:
                cell = self.columns.cell("caption", cells)
                texts = self._captions(captions.cell_captions(cell))
        except KeyError as empty:
            texts, column = (), empty.args[0]
        return texts or Reason(f"no caption: the column '{column}' is empty", Cause.NO_CAPTION)

    def _locate(self, cell: str) -> Location | Reason:
        """The file a cell means, or why it means none that may be opened."""
        if not cell:
            return Reason(f"no image: the column '{self.columns.roles['image']}' is empty")
        if scheme_of(cell):
            return self.addresses.locate(cell)
        if cell.startswith(("/", "\\")) or _DRIVE.match(cell):
            return Reason("an absolute path: images are named relative to the table")
        if "\0" in cell:
            return Reason("a path with a NUL byte")
        path = self.columns.image_path(cell)
        if path.split(os.sep)[0] == "..":
            return Reason("a path that leads out of the catalogue's folder")
        file = self.root.child(path)
        return file if file.is_file() else self._spelled_otherwise(path) or file

    def _spelled_otherwise(self, path: str) -> Location | None:
        """A file of this path with other slashes, or another spelling of its accents."""
        plain = os.path.normpath(path.replace("\\", "/").strip())
        spellings = (
            unicodedata.normalize("NFC", plain),
            unicodedata.normalize("NFD", plain),
            plain,
        )
        files = (self.root.child(other) for other in spellings if not other.startswith(".."))
        return next((file for file in files if file.is_file()), None)


def find(location: Location) -> Location | None:
    """The table a location means: itself, or the one in a folder.

    Raises UsageError where a folder holds several.
    """
    if location.is_file():
        return location if location.suffix in _tables.SUFFIXES else None
    files = location.files()
    # Parquet and JSON beside tars are notes of who wrote the tars.
    has_tars = any(file.name.endswith(".tar") for file in files)
    tables = [
        file
        for file in files
        if file.suffix in _tables.SUFFIXES and not (has_tars and file.suffix != ".csv")
    ]
    tables = [t for t in tables if t.suffix != ".json" or _stem(t) in NAMED]
    named = [t for t in tables if _stem(t) in NAMED]
    for candidates in (named, tables):
        if len(candidates) == 1:
            return candidates[0]
    if not tables:
        return None
    names = ", ".join(t.name for t in (named or tables)[:6])
    raise UsageError(
        f"{location} holds several tables: {names}.",
        f"Name one, such as: unidiff prepare {tables[0]}",
    )


def _stem(file: Location) -> str:
    return PurePosixPath(file.name).stem.lower()
