"""A table that names images: CSV, TSV, JSON lines, JSON or parquet, alone or in a folder beside its images.

Columns are found by their names and by what they hold (values that are files), or mapped by
`prepare.columns.*`; `prepare.columns.split: ''` turns a found column off.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from unidiff_cli.config.schema import Prepare
from unidiff_cli.data import captions
from unidiff_cli.data.columns import ROLES
from unidiff_cli.data.readers import Reader, _tables, shown
from unidiff_cli.data.sample import IMAGE_SUFFIXES, SPLITS, Extent, Rejected, Sample
from unidiff_cli.errors import UsageError, nearest

HEAD = 1000  # rows looked at to understand a table
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

    def __init__(self, path: Path, options: Prepare) -> None:
        super().__init__(path, options)
        self.path = find(path) or path
        if self.path.is_dir():
            raise UsageError(
                f"{path} holds no table.", f"Known endings: {', '.join(_tables.SUFFIXES)}."
            )
        self.root = self.path.parent
        records = islice(_tables.read(self.path), HEAD)
        self._head = [_stub(cells) for _, cells in records if not isinstance(cells, str)]
        self._place = ("", "")  # the folder and the ending that make a cell a file
        self.columns = list(dict.fromkeys(name for cells in self._head for name in cells))
        self.roles: dict[str, str | None] = dict.fromkeys(ROLES)
        if self._head:
            self._understand()

    @classmethod
    def accepts(cls, path: Path) -> bool:
        return find(path) is not None

    def describe(self) -> str:
        kind = self.path.suffix[1:].lower()
        if kind in ("csv", "tsv"):
            kind += f", columns separated by a {_tables.SEPARATORS[_tables.separator(self.path)]}"
        roles = {**self.roles, "caption": None} if self.options.caption else self.roles
        said = [f"{role} = {column}" for role, column in roles.items() if column]
        if self.options.caption:
            said.append(f'caption = "{self.options.caption}"')
        others = [c for c in self.columns if c not in roles.values()]
        lines = [f"{self.path.name}: {kind}", f"columns: {', '.join(said)}"]
        if others:
            lines.append(f"kept as attributes: {', '.join(others)}")
        if self._place != ("", ""):
            lines.append(
                f"images are found as {os.path.join(self._place[0], '<' + str(self.roles['image']) + '>')}{self._place[1]}"
            )
        return "\n".join([*lines, *self.peek()])

    def __iter__(self) -> Iterator[Sample | Rejected]:
        self._fresh()
        for number, cells in _tables.read(self.path, self.notes):
            row = f"{shown(self.path.name)}:{number}"
            if isinstance(cells, str):
                yield Rejected(row, cells)
            elif self._wanted(cells):
                yield self._sample(row, cells)

    def extent(self) -> Extent:
        if not self._head or not isinstance(self._bytes(self._head[0]), bytes):
            return super().extent()
        import pyarrow.parquet  # images inside the table: its own size and time say it all

        state, rows = self.path.stat(), pyarrow.parquet.ParquetFile(self.path).metadata.num_rows
        return Extent(f"{state.st_size:x}-{state.st_mtime_ns:x}", rows, state.st_size)

    # ---- one row

    def _sample(self, row: str, cells: _tables.Cells) -> Sample | Rejected:
        named = _name(cells.get(self.roles["image"] or ""))
        image: Path | bytes | str | None = self._bytes(cells)
        given = "" if image else shown(named)
        image = image or self._locate(named)
        if isinstance(image, str):
            return Rejected(row, image, given)
        try:
            found = self._captions(self._written(cells))
        except KeyError as empty:
            return Rejected(row, f"no caption: the column '{empty.args[0]}' is empty", given)
        if not found:
            return Rejected(
                row, f"no caption: the column '{self.roles['caption']}' is empty", given
            )
        if max(map(len, found)) > captions.MAX_LENGTH:
            return Rejected(row, f"a caption longer than {captions.MAX_LENGTH:,} characters", given)
        own = {
            role: captions.words(cells.get(column)) for role, column in self.roles.items() if column
        }
        dropped = (self.roles["image"], None if self.options.caption else self.roles["caption"])
        attributes = {k: _tables.plain(v) for k, v in cells.items() if k not in dropped}
        split = self._split(own.get("split", ""))
        return Sample(
            row, image, found, attributes, own.get("id") or None, own.get("product") or None, split
        )

    def _written(self, cells: _tables.Cells) -> list[str]:
        if self.options.caption:
            return [captions.fill(self.options.caption, cells)]
        return list(captions.several(cells.get(self.roles["caption"] or "")))

    def _bytes(self, cells: _tables.Cells) -> bytes | None:
        """The image itself, where the table holds it, as Hugging Face's parquet does."""
        value = cells.get(self.roles["image"] or "")
        value = value.get("bytes") if isinstance(value, dict) else value
        return bytes(value) if isinstance(value, bytes | bytearray) else None

    def _locate(self, value: str) -> Path | str:
        """The file a cell means, or why it means none that may be opened."""
        if not value:
            return f"no image: the column '{self.roles['image']}' is empty"
        if _URL.match(value):
            return "a web address: unidiff reads images from disk, so download it first"
        if value.startswith(("/", "\\")) or _DRIVE.match(value):
            return "an absolute path: images are named relative to the table"
        if "\0" in value:
            return "a path with a NUL byte"
        name = os.path.normpath(os.path.join(self._place[0], value + self._place[1]))
        if name.split(os.sep)[0] == "..":
            return "a path that leads out of the catalogue's folder"
        path = self.root / name
        if not _is_file(path):
            plain = os.path.normpath(name.replace("\\", "/").strip())
            for other in (
                unicodedata.normalize("NFC", plain),
                unicodedata.normalize("NFD", plain),
                plain,
            ):
                if not other.startswith("..") and _is_file(self.root / other):
                    return self.root / other
        return path

    # ---- understanding the table

    def _understand(self) -> None:
        for role in ROLES:
            self.roles[role] = self._mapped(role)
        self._find_images()
        taken = self.roles["image"]
        for role in ("caption", "id", "product", "split"):
            if self.roles[role] is None and not (role == "caption" and self.options.caption):
                named = [c for c in self._named(role) if c != taken]
                self.roles[role] = next((c for c in named if self._fits(role, c)), None)
            elif self.roles[role] == "":
                self.roles[role] = None
        self._check()

    def _mapped(self, role: str) -> str | None:
        """The column the recipe maps to a role. Raises UsageError where the table has none of that name."""
        column: str | None = getattr(self.options.columns, role)
        if column and column not in self.columns:
            raise self._missing(f"prepare.columns.{role}", column)
        return column

    def _missing(self, key: str, column: str) -> UsageError:
        return UsageError(
            f"{key} is '{column}', but {self.path.name} has no such column.{nearest(column, self.columns)}",
            f"Its columns: {', '.join(self.columns)}.",
        )

    def _named(self, role: str) -> list[str]:
        """The columns whose names mean a role, likeliest first."""
        plain = {
            re.sub(r"[^a-z0-9]+", "_", column.strip().lower()): column
            for column in reversed(self.columns)
        }
        return [plain[name] for name in ROLES[role].split() if name in plain]

    def _find_images(self) -> None:
        """Sets the image column and where its values are files: beside the table, in images/, without an ending."""
        mapped = self.roles["image"]
        named = [mapped] if mapped else list(dict.fromkeys([*self._named("image"), *self.columns]))
        few = self._head[:50]
        best: tuple[int, str, tuple[str, str]] = (0, "", ("", ""))
        for place in ((folder, ending) for ending in ENDINGS for folder in FOLDERS):
            if place[0] and not (self.root / place[0]).is_dir():
                continue
            for column in named:
                hits = sum(self._is_image(cells.get(column), place) for cells in few)
                if hits > best[0] + (2 if best[0] else 0):
                    best = (hits, column, place)
        self.roles["image"] = (
            best[1] or next(iter(self._named("image")), None) if not mapped else mapped
        )
        self._place = best[2]

    def _is_image(self, value: Any, place: tuple[str, str]) -> bool:
        if isinstance(value, dict):
            value = value.get("bytes")
        if isinstance(value, bytes | bytearray):
            return True
        name = _name(value) + place[1]
        if (
            not name
            or len(name) > 1000
            or "\0" in name
            or Path(name).suffix.lower() not in IMAGE_SUFFIXES
        ):
            return False
        return _is_file(self.root / place[0] / name)

    def _fits(self, role: str, column: str) -> bool:
        """Whether a column that has the right name holds the right thing."""
        values = [captions.words(cells.get(column)) for cells in self._head]
        values = [value for value in values if value]
        if role == "split":
            return any(value.lower() in SPLITS for value in values)
        if (
            role == "product"
        ):  # 'product' also names a kind of goods in some tables; such groups would be the splits
            return len(set(values)) >= min(len(values), max(3, 0.05 * len(values)))
        return bool(values)

    def _check(self) -> None:
        columns = f"Its columns: {', '.join(self.columns)}. "
        if self.roles["image"] is None:
            raise UsageError(
                f"{self.path.name} has no column that names images.",
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
                f"{self.path.name} has no caption column.",
                columns
                + "Map one: --set prepare.columns.caption=COLUMN, or several: --set 'prepare.caption=\"{name} in {color}\"'",
            )


def _name(value: Any) -> str:
    """A cell as a file's name: as written, blanks and all."""
    return value if isinstance(value, str) and value.strip() else captions.words(value)


def _stub(value: Any) -> Any:
    """A row without the images in it, to be kept in memory."""
    if isinstance(value, dict):
        return {k: _stub(v) for k, v in value.items()}
    return value[:8] if isinstance(value, bytes | bytearray) else value


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def find(path: Path) -> Path | None:
    """The table a path means: itself, or the one in a folder. Raises UsageError where a folder holds several."""
    if path.is_file():
        return path if path.suffix.lower() in _tables.SUFFIXES else None
    files = (
        sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
        if path.is_dir()
        else []
    )
    tars = any(
        p.suffix == ".tar" for p in files
    )  # parquet and json beside tars are notes of who wrote the tars
    fit = [
        p
        for p in files
        if p.suffix.lower() in _tables.SUFFIXES and not (tars and p.suffix != ".csv")
    ]
    fit = [p for p in fit if p.suffix.lower() != ".json" or p.stem.lower() in NAMED]
    named = [p for p in fit if p.stem.lower() in NAMED]
    for some in (named, fit):
        if len(some) == 1:
            return some[0]
    if not fit:
        return None
    names = ", ".join(p.name for p in (named or fit)[:6])
    raise UsageError(
        f"{path} holds several tables: {names}.", f"Name one, such as: unidiff prepare {fit[0]}"
    )
