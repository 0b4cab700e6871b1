"""Readers: each understands one way to keep a catalogue and yields its rows as Samples.

    class Spreadsheet(Reader):                    # readers/spreadsheet.py, `prepare.reader: spreadsheet`
        @classmethod
        def accepts(cls, path): ...
        def describe(self): ...                   # what was understood, shown to the user
        def __iter__(self): ...                   # Sample or Bad, one for every row that `where` keeps

A reader opens and names images; decoding them is prepare's. It never writes, and follows no address that
leads out of the catalogue.
"""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from unidiff_cli import registry
from unidiff_cli.config.schema import Prepare
from unidiff_cli.data import captions as captions_module
from unidiff_cli.data.sample import SPLITS, Extent, Rejected, Sample
from unidiff_cli.errors import UsageError
from unidiff_cli.project.project import FOLDERS, is_project


class Reader(ABC):
    """A catalogue, iterated as often as one likes; `notes` and `filtered` are of the latest pass."""

    root: Path  # the folder image paths are relative to

    def __init__(self, path: Path, options: Prepare) -> None:
        self.path, self.options = path, options
        self.root = path if path.is_dir() else path.parent
        self.notes: Counter[str] = Counter()
        self.filtered = 0

    @classmethod
    @abstractmethod
    def accepts(cls, path: Path) -> bool:
        """Whether this file or folder is such a catalogue."""

    @abstractmethod
    def describe(self) -> str:
        """What was understood: a few lines for the user."""

    @abstractmethod
    def __iter__(self) -> Iterator[Sample | Rejected]:
        """Every row, as a Sample or as Bad with a reason."""

    def peek(self, count: int = 3) -> list[str]:
        """The first samples as lines for `describe`."""
        samples = islice((item for item in self if isinstance(item, Sample)), count)
        return [f"  {s.row}: {s.captions[0]}" for s in samples]

    def extent(self) -> Extent:
        """Digest, rows and bytes of the catalogue, without opening an image."""
        digest, rows, total = hashlib.sha256(), 0, 0
        for item in self:
            rows += 1
            state: tuple[Any, ...] = (item,)
            if isinstance(item, Sample):
                size, changed = _state(item.image)
                state = (item.row, item.captions, item.product, item.split, size, changed)
                total += size
            digest.update(repr(state).encode("utf-8", "backslashreplace"))
        return Extent(digest.hexdigest()[:16], rows, total)

    # ---- what readers share

    def _fresh(self) -> None:
        self.notes.clear()
        self.filtered = 0

    def _wanted(self, cells: Mapping[str, Any]) -> bool:
        """Whether `prepare.where` keeps a row; the others are counted."""
        for column, value in self.options.where.items():
            found = captions_module.words(cells.get(column))
            if found != value and not (
                isinstance(cells.get(column), bool) and found.lower() == value.lower()
            ):
                self.filtered += 1
                return False
        return True

    def _captions(self, values: Iterable[str]) -> tuple[str, ...]:
        """Captions cleaned, empty and repeated ones dropped; repairs are counted."""
        kept = []
        for value in values:
            caption = captions_module.clean(value)
            if caption != captions_module.fold(value):
                self.notes["captions with markup or broken letters, repaired"] += 1
            kept.append(caption)
        return tuple(dict.fromkeys(filter(None, kept)))

    def _split(self, value: str) -> str | None:
        """A split's name as one of train, val, test; an unknown one is read as train and counted."""
        if not value:
            return None
        split = SPLITS.get(value.strip().lower())
        if split is None:
            self.notes[f"rows whose split is '{value[:40]}', read as train"] += 1
        return split or "train"


def _state(image: Path | bytes) -> tuple[int, int]:
    """Size and time of change of an image; zeros where there is none."""
    if isinstance(image, bytes):
        return len(image), 0
    try:
        found = image.stat()
        return found.st_size, found.st_mtime_ns
    except (OSError, ValueError):
        return 0, 0


def walk(root: Path) -> Iterator[Path]:
    """All visible files below a folder in a fixed order; project directories inside it are left out."""
    seen: set[tuple[int, int]] = set()

    def below(folder: Path, rooms: frozenset[str]) -> Iterator[Path]:
        found = folder.stat()
        if (found.st_dev, found.st_ino) in seen:  # a link that leads back up
            return
        seen.add((found.st_dev, found.st_ino))
        try:
            entries = sorted(os.scandir(folder), key=lambda e: os.fsencode(e.name))
        except PermissionError:
            return
        for entry in entries:
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                continue
            if not entry.is_dir():
                yield Path(entry.path)
            elif entry.name not in rooms and not is_project(Path(entry.path)):
                yield from below(Path(entry.path), frozenset())

    yield from below(root, frozenset(FOLDERS) if is_project(root) else frozenset())


def shown(name: str | Path) -> str:
    """A path as text that UTF-8 can hold: bytes that are none are written \\xff."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def choose(path: str | os.PathLike[str], options: Prepare) -> Reader:
    """The reader of a catalogue: the one `prepare.reader` names, else a table, tars, a plug-in's, a folder.

    Raises UsageError where nothing is there or nobody can read it.
    """
    here = Path(path).expanduser().absolute()
    if not here.exists():
        raise UsageError(
            f"There is no catalogue at {path}.",
            "Give a folder of images, or a table that names them.",
        )
    if options.reader != "auto":
        return registry.load("readers", options.reader)(here, options)
    known = registry.names("readers")
    order = [
        "table",
        "webdataset",
        *(n for n in known if n not in ("table", "webdataset", "folder")),
        "folder",
    ]
    for name in order:
        reader: type[Reader] = registry.load("readers", name)
        if reader.accepts(here):
            return reader(here, options)
    raise UsageError(
        f"{path} is nothing unidiff can read.",
        "Give a folder, a table (csv, tsv, jsonl, json, parquet) or WebDataset tars.",
    )
