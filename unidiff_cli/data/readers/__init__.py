"""Readers: each reads one way of keeping a catalogue and yields its rows as samples.

In comes the `Location` of a catalogue; out go `Sample` and `Rejected`, one for every row that
`prepare.where` keeps. To add one, write a file here with a class of its name:

    class Spreadsheet(Reader):                    # readers/spreadsheet.py, `reader: spreadsheet`
        @classmethod
        def accepts(cls, location): ...
        def describe(self): ...
        def __iter__(self): ...

A reader opens and names images; prepare decodes them. It never writes, and follows no address that
leads out of the catalogue. What one row may cost is bounded by `options.limits`.
"""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from unidiff_cli import registry
from unidiff_cli.config.schema import Prepare
from unidiff_cli.data import captions as captions_module
from unidiff_cli.data.addresses import without_secrets
from unidiff_cli.data.captions import MAX_LENGTH
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.image_addresses import ImageAddresses
from unidiff_cli.data.locations import Location, locate
from unidiff_cli.data.sample import Extent, Reason, Rejected, Sample
from unidiff_cli.data.splits import SPLITS
from unidiff_cli.errors import UsageError

# Words that are named in a doubt.
NAMED = 5
MENDED = "captions with markup or broken letters, repaired"


class Reader(ABC):
    """A catalogue, iterated as often as one likes.

    `location` is the file or folder that is read, and `root` the folder that image paths are
    relative to. `notes` (what a person should know, and how often) and `filtered` (rows that
    `prepare.where` leaves out) are those of the latest pass, and so are `doubts`. `addresses` says
    what an address in a cell means.
    """

    def __init__(self, location: Location, options: Prepare) -> None:
        self.location, self.options = location, options
        self.root = location if location.is_folder() else location.parent
        self.addresses = ImageAddresses(self.root, options)
        self.notes: Counter[str] = Counter()
        self.filtered = 0
        self._words_of_splits = {
            word.strip().lower(): split for word, split in options.split_words.items()
        }
        # Words of a split that are not understood, and how often.
        self._unknown_splits: Counter[str] = Counter()

    @classmethod
    @abstractmethod
    def accepts(cls, location: Location) -> bool:
        """Whether this file or folder is such a catalogue."""

    @abstractmethod
    def describe(self) -> list[str]:
        """How the catalogue is read: a few lines for a person."""

    @abstractmethod
    def __iter__(self) -> Iterator[Sample | Rejected]:
        """Every row, as a sample or with the reason why it is none."""

    def peek(self, count: int = 3) -> list[str]:
        """The first samples as lines for `describe`."""
        samples = islice((item for item in self if isinstance(item, Sample)), count)
        return [f"  {sample.row}: {sample.captions[0]}" for sample in samples]

    def decisions(self) -> dict[str, str]:
        """What decides the result, such as the caption column: a label and a few words each."""
        return {}

    def doubts(self) -> list[Doubt]:
        """What may not be meant as it is read; whole once a pass over the rows has ended."""
        if not self._unknown_splits:
            return self.addresses.doubts()
        counted = self._unknown_splits.most_common(NAMED)
        words = ", ".join(f"'{word}' ({rows:,} rows)" for word, rows in counted)
        return [
            Doubt(
                f"The split column holds words that are not understood: {words}.",
                f"Say what each means: --set prepare.split_words.{counted[0][0]}=test, "
                "or that there is no such column: --set prepare.columns.split=''",
                stops=True,
            ),
            *self.addresses.doubts(),
        ]

    def extent(self) -> Extent:
        """Digest, rows and bytes of the catalogue, without opening an image."""
        digest, rows, total = hashlib.sha256(), 0, 0
        for item in self:
            rows += 1
            state: tuple[Any, ...] = (item,)
            if isinstance(item, Sample):
                size, version = self._state(item.image)
                state = (item.row, item.captions, item.product, item.split, size, version)
                total += size
            digest.update(repr(state).encode("utf-8", "backslashreplace"))
        return Extent(digest.hexdigest()[:16], rows, total)

    # ---- what readers share

    def _state(self, image: Location) -> tuple[int, str]:
        """Size and version of an image; nothing where there is none that may be read."""
        try:
            kind, size, version, _ = image.stat()
        except (OSError, ValueError):
            return 0, ""
        fits = kind == "file" and size <= self.options.limits.image_bytes
        return (size, version) if fits else (0, "")

    def _begin_pass(self) -> None:
        self.notes.clear()
        self._unknown_splits.clear()
        self.addresses.begin_pass()
        self.filtered = 0

    def _keeps(self, cells: Mapping[str, Any]) -> bool:
        """Whether `prepare.where` keeps a row; the others are counted."""
        for column, wanted in self.options.where.items():
            text = captions_module.cell_text(cells.get(column))
            is_truth = isinstance(cells.get(column), bool) and text.lower() == wanted.lower()
            if text != wanted and not is_truth:
                self.filtered += 1
                return False
        return True

    def _captions(self, values: Iterable[str]) -> tuple[str, ...] | Reason:
        """Captions mended, empty and repeated ones dropped; those that were mended are counted.

        A reason where there are too many, or one is too long to be a caption.
        """
        captions, most = [], self.options.limits.captions
        for number, value in enumerate(values, 1):
            if number > most:
                return Reason(f"more than {most:,} captions (prepare.limits.captions)")
            # Markup may go; what is ten times too long is not even mended.
            caption = captions_module.clean(value[: 10 * MAX_LENGTH])
            if len(caption) > MAX_LENGTH or len(value) > 10 * MAX_LENGTH:
                return Reason(f"a caption longer than {MAX_LENGTH:,} characters")
            if caption != captions_module.fold(value):
                self.notes[MENDED] += 1
            captions.append(caption)
        return tuple(dict.fromkeys(filter(None, captions)))

    def _split(self, value: str) -> str | None:
        """A split's name as one of train, val, test.

        Words of `prepare.split_words` come first. One that is not understood is counted; with
        `--yes` it is train.
        """
        if not value:
            return None
        word = value.strip().lower()
        split = self._words_of_splits.get(word) or SPLITS.get(word)
        if split is None:
            self._unknown_splits[value[:40]] += 1
        return split or "train"


def choose(address: str | os.PathLike[str], options: Prepare) -> Reader:
    """The reader of a catalogue.

    It is the one that `prepare.reader` names, else the first that accepts it of: table, webdataset,
    installed ones, folder. Raises UsageError where nothing is there or no reader accepts it.
    """
    location = locate(address, options.follow_links)
    if isinstance(address, str):
        address = without_secrets(address)
    if not location.exists():
        raise UsageError(
            f"There is no catalogue at {address}.",
            "Give a folder of images, or a table that names them.",
        )
    if options.reader != "auto":
        return registry.load("readers", options.reader)(location, options)
    ends = ("table", "webdataset", "folder")
    installed = [name for name in registry.names("readers") if name not in ends]
    for name in (*ends[:2], *installed, *ends[2:]):
        reader: type[Reader] = registry.load("readers", name)
        if reader.accepts(location):
            return reader(location, options)
    raise UsageError(
        f"{address} is nothing unidiff can read.",
        "Give a folder, a table (csv, tsv, jsonl, json, parquet) or WebDataset tars.",
    )
