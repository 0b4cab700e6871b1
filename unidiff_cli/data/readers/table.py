"""A table that names images: CSV, TSV, JSON lines, JSON or parquet, alone or in a folder.

Columns are found by their names and by what they hold (values that are files), or mapped by
`prepare.columns.*`; `prepare.columns.split: ''` says that there is none.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from unidiff_cli.config.schema import Prepare
from unidiff_cli.data import captions
from unidiff_cli.data.columns import ROLES
from unidiff_cli.data.locations import InMemory, Location, shown
from unidiff_cli.data.readers import Reader, _tables
from unidiff_cli.data.sample import IMAGE_SUFFIXES, Cause, Extent, Reason, Rejected, Sample
from unidiff_cli.data.splits import SPLITS
from unidiff_cli.errors import UsageError, nearest

# Rows looked at to understand a table.
HEAD = 1000
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
FOLDERS = ("", "images", "image", "imgs", "img", "photos", "pictures")
ENDINGS = ("", ".jpg", ".jpeg", ".png", ".webp")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://|data:", re.IGNORECASE)
_DRIVE = re.compile(r"[a-zA-Z]:[\\/]")


class Table(Reader):
    """The rows of one table, images read from below its folder."""

    def __init__(self, location: Location, options: Prepare) -> None:
        super().__init__(find(location) or location, options)
        if self.location.is_folder():
            raise UsageError(
                f"{location} holds no table.", f"Known endings: {', '.join(_tables.SUFFIXES)}."
            )
        records = islice(_tables.read(self.location), HEAD)
        self._head = [_without_bytes(cells) for _, cells in records if isinstance(cells, dict)]
        # The folder and the ending that make a cell a file.
        self._place = ("", "")
        self.columns = list(dict.fromkeys(name for cells in self._head for name in cells))
        self.roles: dict[str, str | None] = dict.fromkeys(ROLES)
        if self._head:
            self._understand()

    @classmethod
    def accepts(cls, location: Location) -> bool:
        return find(location) is not None

    def describe(self) -> str:
        kind = self.location.suffix[1:]
        if kind in ("csv", "tsv"):
            sep = _tables.SEPARATORS[_tables.separator(self.location)]
            kind += f", columns separated by a {sep}"
        template = self.options.caption
        roles = {**self.roles, "caption": None} if template else self.roles
        columns = [f"{role} = {column}" for role, column in roles.items() if column]
        if template:
            columns.append(f'caption = "{template}"')
        others = [c for c in self.columns if c not in roles.values()]
        lines = [f"{self.location.name}: {kind}", f"columns: {', '.join(columns)}"]
        if others:
            lines.append(f"kept as attributes: {', '.join(others)}")
        folder, ending = self._place
        if folder or ending:
            pattern = os.path.join(folder, f"<{self.roles['image']}>") + ending
            lines.append(f"images are found as {pattern}")
        return "\n".join([*lines, *self.peek()])

    def __iter__(self) -> Iterator[Sample | Rejected]:
        self._begin_pass()
        for number, cells in _tables.read(self.location, self.notes):
            row = f"{shown(self.location.name)}:{number}"
            if isinstance(cells, Reason):
                yield Rejected(row, cells)
            elif self._keeps(cells):
                yield self._sample(row, cells)

    def extent(self) -> Extent:
        if not self._head or self._bytes(self._head[0]) is None:
            return super().extent()
        # With the images inside the table its own size and time say it all.
        import pyarrow.parquet

        stat = self.location.stat()
        with self.location.open() as stream:
            rows = pyarrow.parquet.ParquetFile(stream).metadata.num_rows
        return Extent(f"{stat.size:x}-{stat.version:x}", rows, stat.size)

    # ---- one row

    def _sample(self, row: str, cells: _tables.Cells) -> Sample | Rejected:
        data = self._bytes(cells)
        cell = _file_name(cells.get(self.roles["image"] or ""))
        path = "" if data else shown(cell)
        image = InMemory(row, data) if data else self._locate(cell)
        if isinstance(image, Reason):
            return Rejected(row, image, path)
        texts = self._texts(cells)
        if isinstance(texts, Reason):
            return Rejected(row, texts, path)
        values = {
            role: captions.cell_text(cells.get(column))
            for role, column in self.roles.items()
            if column
        }
        dropped = (self.roles["image"], None if self.options.caption else self.roles["caption"])
        return Sample(
            row,
            image,
            texts,
            attributes={k: _tables.plain(v) for k, v in cells.items() if k not in dropped},
            id=values.get("id") or None,
            product=values.get("product") or None,
            split=self._split(values.get("split", "")),
        )

    def _texts(self, cells: _tables.Cells) -> tuple[str, ...] | Reason:
        """The captions of a row, or why there are none."""
        column = self.roles["caption"] or ""
        try:
            if self.options.caption:
                texts = self._captions([captions.fill(self.options.caption, cells)])
            else:
                texts = self._captions(captions.cell_captions(cells.get(column)))
        except KeyError as empty:
            texts, column = (), empty.args[0]
        if not texts:
            return Reason(f"no caption: the column '{column}' is empty", Cause.NO_CAPTION)
        if max(map(len, texts)) > captions.MAX_LENGTH:
            return Reason(f"a caption longer than {captions.MAX_LENGTH:,} characters")
        return texts

    def _bytes(self, cells: _tables.Cells) -> bytes | None:
        """The image itself, where the table holds it, as Hugging Face's parquet does."""
        value = cells.get(self.roles["image"] or "")
        value = value.get("bytes") if isinstance(value, dict) else value
        return bytes(value) if isinstance(value, bytes | bytearray) else None

    def _locate(self, cell: str) -> Location | Reason:
        """The file a cell means, or why it means none that may be opened."""
        if not cell:
            return Reason(f"no image: the column '{self.roles['image']}' is empty")
        if _URL.match(cell):
            return Reason("a web address: unidiff reads images from disk, so download it first")
        if cell.startswith(("/", "\\")) or _DRIVE.match(cell):
            return Reason("an absolute path: images are named relative to the table")
        if "\0" in cell:
            return Reason("a path with a NUL byte")
        folder, ending = self._place
        name = os.path.normpath(os.path.join(folder, cell + ending))
        if name.split(os.sep)[0] == "..":
            return Reason("a path that leads out of the catalogue's folder")
        file = self.root.child(name)
        return file if file.is_file() else self._spelled_otherwise(name) or file

    def _spelled_otherwise(self, name: str) -> Location | None:
        """A file of this name with other slashes, or another spelling of its accents."""
        plain = os.path.normpath(name.replace("\\", "/").strip())
        spellings = (
            unicodedata.normalize("NFC", plain),
            unicodedata.normalize("NFD", plain),
            plain,
        )
        files = (self.root.child(other) for other in spellings if not other.startswith(".."))
        return next((file for file in files if file.is_file()), None)

    # ---- understanding the table

    def _understand(self) -> None:
        for role in ROLES:
            self.roles[role] = self._mapped(role)
        self._find_images()
        images = self.roles["image"]
        for role in ("caption", "id", "product", "split"):
            if self.roles[role] is None and not (role == "caption" and self.options.caption):
                named = [c for c in self._named(role) if c != images]
                self.roles[role] = next((c for c in named if self._fits(role, c)), None)
            elif self.roles[role] == "":
                self.roles[role] = None
        self._check()

    def _mapped(self, role: str) -> str | None:
        """The column the recipe maps to a role. Raises UsageError where there is none."""
        column: str | None = getattr(self.options.columns, role)
        if column and column not in self.columns:
            raise self._missing(f"prepare.columns.{role}", column)
        return column

    def _missing(self, key: str, column: str) -> UsageError:
        return UsageError(
            f"{key} is '{column}', but {self.location.name} has no such column."
            f"{nearest(column, self.columns)}",
            f"Its columns: {', '.join(self.columns)}.",
        )

    def _named(self, role: str) -> list[str]:
        """The columns whose names mean a role, likeliest first."""
        plain = {
            re.sub(r"[^a-z0-9]+", "_", column.strip().lower()): column
            for column in reversed(self.columns)
        }
        return [plain[name] for name in ROLES[role] if name in plain]

    def _find_images(self) -> None:
        """Sets the image column and where its values are files.

        They may lie beside the table or in images/ and the like, with or without their ending.
        """
        mapped = self.roles["image"]
        named = [mapped] if mapped else list(dict.fromkeys([*self._named("image"), *self.columns]))
        head = self._head[:50]
        hits, column, place = 0, "", ("", "")
        for folder, ending in ((folder, ending) for ending in ENDINGS for folder in FOLDERS):
            if folder and not self.root.child(folder).is_folder():
                continue
            for name in named:
                more = sum(self._is_image(cells.get(name), folder, ending) for cells in head)
                if more > hits + (2 if hits else 0):
                    hits, column, place = more, name, (folder, ending)
        if not mapped:
            self.roles["image"] = column or next(iter(self._named("image")), None)
        self._place = place

    def _is_image(self, value: Any, folder: str, ending: str) -> bool:
        if isinstance(value, dict):
            value = value.get("bytes")
        if isinstance(value, bytes | bytearray):
            return True
        name = _file_name(value) + ending
        if not name or len(name) > 1000 or "\0" in name:
            return False
        if PurePosixPath(name).suffix.lower() not in IMAGE_SUFFIXES:
            return False
        return self.root.child(folder).child(name).is_file()

    def _fits(self, role: str, column: str) -> bool:
        """Whether a column that has the right name holds the right thing."""
        values = [captions.cell_text(cells.get(column)) for cells in self._head]
        values = [value for value in values if value]
        if role == "split":
            return any(value.lower() in SPLITS for value in values)
        if role == "product":
            # In some tables 'product' names a kind of goods; such groups would be the splits.
            return len(set(values)) >= min(len(values), max(3, 0.05 * len(values)))
        return bool(values)

    def _check(self) -> None:
        columns = f"Its columns: {', '.join(self.columns)}. "
        if self.roles["image"] is None:
            raise UsageError(
                f"{self.location.name} has no column that names images.",
                columns + "Map one: --set prepare.columns.image=COLUMN",
            )
        for column in self.options.where:
            if column not in self.columns:
                raise self._missing("prepare.where", column)
        if self.options.caption:
            for column in captions.fields(self.options.caption):
                if column not in self.columns:
                    raise self._missing("A column of prepare.caption", column)
        elif self.roles["caption"] is None:
            raise UsageError(
                f"{self.location.name} has no caption column.",
                columns + "Map one: --set prepare.columns.caption=COLUMN, "
                "or several: --set 'prepare.caption=\"{name} in {color}\"'",
            )


def _file_name(value: Any) -> str:
    """A cell as a file's name: as written, blanks and all."""
    return value if isinstance(value, str) and value.strip() else captions.cell_text(value)


def _without_bytes(value: Any) -> Any:
    """A row without the images in it, so that many fit into memory."""
    if isinstance(value, dict):
        return {k: _without_bytes(v) for k, v in value.items()}
    return value[:8] if isinstance(value, bytes | bytearray) else value


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
