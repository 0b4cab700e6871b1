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
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from unidiff_cli import registry
from unidiff_cli.addresses import without_secrets
from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data import captions as captions_module
from unidiff_cli.data.columns import SPLIT_FLAGS
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.downloads import WebImage
from unidiff_cli.data.image_addresses import ImageAddresses
from unidiff_cli.data.locations import Location, locate
from unidiff_cli.data.readers.catalogue import unread
from unidiff_cli.data.readers.catalogue.survey import Sources, survey, unpacked
from unidiff_cli.data.readers.catalogue.table_choice import choose_tables
from unidiff_cli.data.readers.catalogue.unnamed import UNNAMED, NamedFiles, Unnamed, unnamed_images
from unidiff_cli.data.sample import NO_FILE, Cause, Extent, Reason, Rejected, Sample
from unidiff_cli.data.split_words import setting, split_of
from unidiff_cli.errors import UsageError

if TYPE_CHECKING:
    from unidiff_cli.data.readers.columns.late_splits import LateSplits

# Words that are named in a doubt.
NAMED = 5
MENDED = "captions with markup or broken letters, repaired"
MISSING = "captions that say only nan, N/A or the like, read as empty"


class Reader(ABC):
    """A catalogue, iterated as often as one likes.

    `location` is the file or folder that is read, and `root` the folder that image paths are
    relative to. `notes` (what a person should know, and how often) and `filtered` (rows that
    `prepare.where` leaves out) are those of the latest pass, and so are `doubts`. `lost` are the
    rows of the latest `extent` that surely give no sample, by cause and words. `addresses` says
    what an address in a cell means. `origin` says in lines for a person which files were chosen,
    and `origin_doubts` what is doubtful of that.
    """

    def __init__(self, location: Location, options: Prepare) -> None:
        self.location, self.options = location, options
        self.root = location if location.is_folder() else location.parent
        self.addresses = ImageAddresses(self.root, options)
        self.notes: Counter[str] = Counter()
        self.filtered = 0
        self.lost: Counter[tuple[Cause | None, str]] = Counter()
        self.origin: list[str] = []
        self.origin_doubts: list[Doubt] = []
        # What lies in the folder of a table; None where nobody looked.
        self.sources: Sources | None = None
        self.named = NamedFiles()
        self._unnamed: Unnamed | None = None
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

    def late_splits(self) -> LateSplits | None:
        """What the later rows of a table show of its splits."""
        return None

    def holds_images(self) -> bool:
        """Whether the images lie in the table itself."""
        return False

    def decisions(self) -> dict[str, str]:
        """What decides the result, such as the caption column: a label and a few words each."""
        return {}

    def doubts(self) -> list[Doubt]:
        """What may not be meant as it is read; whole once a pass over the rows has ended."""
        unnamed = self._unnamed.doubts(self._uses_all()) if self._unnamed else []
        return [*self.origin_doubts, *self._split_doubts(), *self.addresses.doubts(), *unnamed]

    def _split_doubts(self) -> list[Doubt]:
        """Words of splits that are not understood."""
        if not self._unknown_splits:
            return []
        counted = self._unknown_splits.most_common(NAMED)
        words = ", ".join(f"'{word}' ({rows:,} row{'s' * (rows != 1)})" for word, rows in counted)
        return [
            Doubt(
                f"The split column holds words that are not understood: {words}.",
                f"Say what each means: {setting(counted[0][0], 'train')} (or val, test), or that "
                "there is no such column: --set prepare.columns.split=''",
                stops=True,
            )
        ]

    def extent(self) -> Extent:
        """Digest, rows and bytes of the catalogue, without opening an image."""
        digest, rows, total = hashlib.sha256(), 0, 0
        self.lost.clear()
        for item in self:
            rows += 1
            state: tuple[Any, ...] = (item,)
            if isinstance(item, Rejected):
                self.lost[item.reason.cause, item.reason.counted_as] += 1
            else:
                size, version, is_missing = self._state(item.image)
                state = (item.row, item.captions, item.product, item.split, size, version)
                if is_missing:
                    self.lost[None, NO_FILE] += 1
                total += size
            digest.update(repr(state).encode("utf-8", "backslashreplace"))
        return Extent(digest.hexdigest()[:16], rows, total)

    # ---- what readers share

    def _state(self, image: Location) -> tuple[int, str, bool]:
        """Size and version of an image, nothing where there is none that may be read.

        Whether it surely is not there, too; one that is still to be downloaded may be.
        """
        try:
            kind, size, version, _ = image.stat()
        except (FileNotFoundError, NotADirectoryError):
            return 0, "", not isinstance(image, WebImage)
        except (OSError, ValueError):
            return 0, "", False
        fits = kind == "file" and size <= self.options.limits.image_bytes
        return (size, version, False) if fits else (0, "", False)

    def _begin_pass(self) -> None:
        self.notes.clear()
        self.named = NamedFiles()
        self._unknown_splits.clear()
        self.addresses.begin_pass()
        self.filtered = 0

    def _count_unnamed(self, tables: Iterable[NamedFiles]) -> None:
        """Counts the images of the folder that these tables do not name, after a pass."""
        if self.sources is not None and self.sources.images:
            self._unnamed = unnamed_images(self.sources, list(tables))
            if self._unnamed.total:
                self.notes[UNNAMED] = self._unnamed.total

    def _uses_all(self) -> bool:
        """Whether no row and no image of a table is left out on purpose."""
        options = self.options
        is_chosen = options.where or options.tables or options.images_root
        return not is_chosen and options.images == "all" and options.spelling != "exact"

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
        captions, most, longest = [], self.options.limits.captions, self.options.limits.caption
        for number, value in enumerate(values, 1):
            if number > most:
                return Reason(f"more than {most:,} captions (prepare.limits.captions)")
            # Markup may go; what is ten times too long is not even mended.
            caption = captions_module.clean(value[: 10 * longest])
            if len(caption) > longest or len(value) > 10 * longest:
                return Reason(
                    f"a caption longer than {longest:,} characters (prepare.limits.caption)"
                )
            if captions_module.is_missing(caption):
                self.notes[MISSING] += bool(caption)
                continue
            if caption != captions_module.fold(value):
                self.notes[MENDED] += 1
            captions.append(caption)
        return tuple(dict.fromkeys(filter(None, captions)))

    def _split(self, value: str, column: str = "") -> str | None:
        """A split's name as one of train, val, test; `column` is where it stands.

        Words of `prepare.split_words` come first. One that is not understood is counted; with
        `--yes` it is train.
        """
        if not value:
            return None
        split = self._words_of_splits.get(value.strip().lower()) or split_of(value, column)
        if split is None:
            self._unknown_splits[value[:40]] += 1
        return split or "train"

    def _flag(self, cells: Mapping[str, Any]) -> str | None:
        """The split that a flag such as `is_test` says; None where no flag is there."""
        for name in SPLIT_FLAGS if self.options.columns.split is None else ():
            if text := captions_module.cell_text(cells.get(name)):
                return self._split(text, name)
        return None


def choose(address: str | os.PathLike[str], options: Prepare) -> Reader:
    """The reader of a catalogue.

    It is the one that `prepare.reader` names, else that of the tables, else of the tars, else an
    installed one that accepts it, else that of a folder. Raises UsageError where nothing is there,
    no reader accepts it, or several tables may be meant.
    """
    location = locate(address, options.follow_links)
    if isinstance(address, str):
        address = without_secrets(address)
    if not location.exists():
        raise UsageError(
            f"There is no catalogue at {address}.",
            "Give a folder of images, or a table that names them.",
        )
    location = unpacked(location)
    if options.reader not in ("auto", "table") or not location.is_folder():
        return _choose_by_name(address, location, options)
    sources = survey(location, options)
    location = sources.root
    tables = choose_tables(sources, options, partial(_load("table"), options=options))
    reader = _of_tables(location, options, tables.parts)
    if reader is None and options.reader == "auto":
        reader = _first_that_accepts(location, options)
    if reader is None:
        return cast(Reader, _load("table")(location, options))
    reader.origin = tables.lines
    reader.sources = sources if tables.parts else None
    uses_tars = not tables.parts and bool(sources.tars)
    reader.origin_doubts = [*tables.doubts, *unread.doubts(sources, tables, uses_tars)]
    return reader


def _choose_by_name(
    address: str | os.PathLike[str], location: Location, options: Prepare
) -> Reader:
    if options.reader != "auto":
        return cast(Reader, _load(options.reader)(location, options))
    reader = _first_that_accepts(location, options)
    if reader is None:
        raise UsageError(
            f"{address} is nothing unidiff can read.",
            "Give a folder, a table (csv, tsv, jsonl, json, parquet, xlsx, a feed in xml) "
            "or WebDataset tars.",
        )
    return reader


def _first_that_accepts(location: Location, options: Prepare) -> Reader | None:
    first, last = ("table", "webdataset"), ("tables", "folder")
    installed = [name for name in registry.names("readers") if name not in first + last]
    for name in (*first, *installed, "folder"):
        if name == "table" and location.is_folder():
            continue
        reader: type[Reader] = _load(name)
        if reader.accepts(location):
            return reader(location, options)
    return None


def _of_tables(
    location: Location, options: Prepare, parts: list[tuple[Location, str | None]]
) -> Reader | None:
    if not parts:
        return None
    if len(parts) == 1:
        return cast(Reader, _load("table")(parts[0][0], options))
    return cast(Reader, _load("tables")(location, options, parts))


def _load(name: str) -> type:
    return registry.load("readers", name)
