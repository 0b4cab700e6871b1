"""A table that names images: CSV, TSV, JSON lines, JSON or parquet, alone or in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from unidiff_cli.addresses import WEB, scheme_of, without_secrets
from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data import captions, columns
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.locations import InMemory, Location, shown
from unidiff_cli.data.readers import Reader
from unidiff_cli.data.readers.catalogue import img2dataset
from unidiff_cli.data.readers.catalogue.survey import survey
from unidiff_cli.data.readers.catalogue.table_choice import choose_tables
from unidiff_cli.data.readers.columns.feeds import Feed, FeedRow, recognise
from unidiff_cli.data.readers.columns.image_cells import Image
from unidiff_cli.data.readers.columns.image_places import ImagePlaces
from unidiff_cli.data.readers.columns.image_splits import folder_word
from unidiff_cli.data.readers.columns.late_splits import LateSplits, adopt_splits
from unidiff_cli.data.readers.columns.product_views import product_of
from unidiff_cli.data.readers.columns.table_columns import TableColumns
from unidiff_cli.data.readers.rows import formats
from unidiff_cli.data.readers.rows.cells import Cells, Record, plain
from unidiff_cli.data.sample import Cause, Extent, Reason, Rejected, Sample
from unidiff_cli.errors import TooLarge, UsageError

# Rows looked at to understand a table, and characters of their cells.
HEAD, HEAD_SIZE = 1000, 1 << 26
# Rows whose images are kept, to be measured.
WHOLE = 12
VARIANTS = "variants without an image of their own, left out"
FURTHER = "further images of a row, left out by prepare.images"


class Table(Reader):
    """The rows of one table, images read from below the catalogue's folder."""

    def __init__(self, location: Location, options: Prepare) -> None:
        super().__init__(find(location, options) or location, options)
        if self.location.is_folder():
            raise UsageError(
                f"{location} holds no table.", f"Known endings: {', '.join(formats.SUFFIXES)}."
            )
        head = self._head()
        names = list(dict.fromkeys(name for _, cells in head for name in cells))
        options = self.options = img2dataset.with_key(options, names)
        self.feed = self._feed(names)
        if self.feed:
            rows = self.feed.rows(lambda: iter(head))
            head = [(row.number, row.cells) for row in rows if isinstance(row.cells, dict)]
        self._count = 0
        self.places = ImagePlaces(self.root, self.location.parent, options)
        rows_ = [cells for _, cells in head]
        try:
            self.columns = TableColumns(self.location, rows_, options, self.places, self.feed)
        except TooLarge:
            raise
        except UsageError as problem:
            raise formats.explained(problem, self.location, options) from None
        self.late = LateSplits(self.columns)

    @classmethod
    def accepts(cls, location: Location) -> bool:
        return find(location, Prepare()) is not None

    def describe(self) -> list[str]:
        form = formats.describe(self.location, self.options)
        return [f"{self.location.name}: {form}", *self.columns.describe(), *self.peek()]

    def decisions(self) -> dict[str, str]:
        return formats.decisions(self.location, self.options) | self.columns.decisions()

    def doubts(self) -> list[Doubt]:
        caption = next(iter(self.columns.captions), None)
        files = formats.doubts(self.location, self.options, self.notes, caption, self._count)
        return [*self.columns.doubts, *self.places.doubts(), *files, *super().doubts()]

    def __iter__(self) -> Iterator[Sample | Rejected]:
        self._begin_pass()
        self.places.begin_pass()
        self.late.begin_pass()
        self._count = 0
        for row in self._rows():
            self._count += 1
            label = f"{shown(self.location.name)}:{row.number}"
            if isinstance(row.cells, Reason):
                yield Rejected(label, row.cells)
            elif self._keeps(row.cells):
                if failure := img2dataset.failure(row.cells):
                    yield Rejected(label, failure)
                    continue
                self.late.row(row.cells)
                yield from self._samples(label, row, row.cells)
        self._count_unnamed([self.named])

    def late_splits(self) -> LateSplits:
        return self.late

    def holds_images(self) -> bool:
        return self.columns.holds_images()

    def extent(self) -> Extent:
        if not self.holds_images():
            extent = super().extent()
            return super().extent() if adopt_splits([self.late]) else extent
        self._read_splits()
        if adopt_splits([self.late]):
            self._read_splits()
        # With the images inside the table its own size and time say it all.
        import pyarrow.parquet

        stat = self.location.stat()
        with self.location.open() as stream:
            rows = pyarrow.parquet.ParquetFile(stream).metadata.num_rows
        return Extent(f"{stat.size:x}-{stat.version}", rows, stat.size)

    def _read_splits(self) -> None:
        """A pass over the columns that may say a split, without the images of the table."""
        self.late.begin_pass()
        self._unknown_splits.clear()
        split = self.columns.roles["split"]
        names = [*self.late.names, *([split] if split else ())]
        if not names:
            return
        filtered = self.filtered
        names = list(dict.fromkeys((*names, *self.options.where)))
        for _, cells in formats.read(self.location, self.options, names=names):
            if not isinstance(cells, Reason) and self._keeps(cells):
                self.late.row(cells)
                self._split_of(cells, b"")
        self.filtered = filtered

    def _uses_all(self) -> bool:
        images = self.columns.images
        is_asked = any(doubt.stops for doubt in images.doubts)
        return super()._uses_all() and not images.left_out and not is_asked

    def _feed(self, names: list[str]) -> Feed | None:
        """The shop system that wrote the table, unless the recipe maps other images than it has."""
        feed = recognise(names)
        images = feed.columns(feed.images) if feed else []
        is_other = images and not set(self.options.columns.names("image")) <= set(images)
        return None if is_other else feed

    def _rows(self) -> Iterator[FeedRow]:
        """The rows of the table, as its shop system means them."""
        if self.feed:
            yield from self.feed.rows(self._read)
        else:
            yield from (FeedRow(number, cells) for number, cells in self._read())

    def _read(self) -> Iterator[Record]:
        return formats.read(self.location, self.options, self.notes)

    def _head(self) -> list[tuple[int, Cells]]:
        """The first rows, without most of the images in them.

        Raises WorkError where they cannot be used.
        """
        head: list[tuple[int, Cells]] = []
        bad: list[Reason] = []
        size = 0
        for number, cells in islice(formats.read(self.location, self.options), HEAD):
            if isinstance(cells, Reason):
                bad.append(cells)
            else:
                head.append((number, cells if len(head) < WHOLE else without_bytes(cells)))
                size += sum(len(cell) for cell in cells.values() if isinstance(cell, str))
                if size > HEAD_SIZE:
                    break
        formats.refuse_unusable(self.location, self.options, len(head), bad)
        return head

    # ---- one row

    def _samples(self, label: str, row: FeedRow, cells: Cells) -> Iterator[Sample | Rejected]:
        """A sample for each image of a row, or why there is none."""
        images, most = self.columns.images.images(cells), self.options.limits.images
        if not images and row.is_variant:
            self.notes[VARIANTS] += 1
            return
        if not images:
            yield Rejected(label, Reason(self.columns.images.why_none(cells)))
            return
        if len(images) > most:
            yield Rejected(label, Reason(f"more than {most:,} images (prepare.limits.images)"))
            return
        if self.options.images == "first" and len(images) > 1:
            self.notes[FURTHER] += len(images) - 1
            images = images[:1]
        # Images of one row are one product, whatever else is known of it.
        id_ = name_text(self.columns.cell("id", cells))
        several = (id_ or label) if len(images) > 1 else ""
        for number, (column, image) in enumerate(images, 1):
            name = label if number == 1 else f"{label}, image {number}"
            yield self._sample(name, cells, column, image, row.product or several)

    def _sample(
        self, row: str, cells: Cells, column: str, image: Image, product: str
    ) -> Sample | Rejected:
        self.late.image(image)
        is_stored = isinstance(image, bytes)
        path = "" if is_stored else without_secrets(shown(str(image)))
        if isinstance(image, bytes):
            file: Location | Reason = InMemory(row, image)
        else:
            file = self._located(column, image)
        if isinstance(file, Reason):
            return Rejected(row, file, path)
        if not is_stored:
            self.named.add(file)
        texts = self._texts(cells)
        if isinstance(texts, Reason):
            return Rejected(row, texts, path)
        id_ = name_text(self.columns.cell("id", cells))
        if self.columns.has_views and not product and not is_stored:
            product = product_of(str(image)) or ""
        dropped = self.columns.dropped()
        return Sample(
            row,
            file,
            texts,
            attributes={k: plain(v) for k, v in cells.items() if k not in dropped},
            id=id_ or None,
            product=self._product(cells, id_) or product or None,
            split=self._split_of(cells, image),
        )

    def _located(self, column: str, image: str) -> Location | Reason:
        """The file that a name or an address means, or why it means none that may be opened."""
        scheme = scheme_of(image)
        if scheme and scheme not in WEB:
            return self.addresses.locate(image)
        file = self.columns.images.locate(column, image)
        # What lies in the catalogue under the name of a web address goes before the address.
        return self.addresses.locate(image) if scheme and isinstance(file, Reason) else file

    def _product(self, cells: Cells, id_: str) -> str:
        """The product of a row by its column; one without a parent is its own parent."""
        column = self.columns.roles["product"]
        if column is None:
            return ""
        product = name_text(cells.get(column))
        if product or not columns.is_parent(column):
            return product
        own = self.columns.own_product
        return name_text(cells.get(own)) if own else id_

    def _split_of(self, cells: Cells, image: Image) -> str | None:
        """The split of a row, by its column or by the folder in its image's path."""
        part = self.columns.split_part
        if part is not None and isinstance(image, str):
            return self._split(folder_word(image, part))
        column = self.columns.roles["split"] or ""
        return self._split(captions.cell_text(cells.get(column)), column)

    def _texts(self, cells: Cells) -> tuple[str, ...] | Reason:
        """The captions of a row, or why there are none."""
        names = " and ".join(f"'{name}'" for name in self.columns.captions)
        try:
            if self.options.caption:
                texts = self._captions([captions.fill(self.options.caption, cells)])
            else:
                texts = self._captions(self._written(cells))
        except KeyError as empty:
            return captions.empty_field(empty.args[0])
        except ValueError as problem:
            return captions.unreadable_cell(problem)
        if self.options.caption:
            what, are = "every field of prepare.caption", "is"
        else:
            what = f"the column{'s' if ' and ' in names else ''} {names}"
            are = "are" if " and " in names else "is"
        return texts or Reason(f"no caption: {what} {are} empty", Cause.NO_CAPTION)

    def _written(self, cells: Cells) -> list[str]:
        """The captions of all columns, or of the first one that is filled."""
        written: list[str] = []
        for name in self.columns.captions:
            written += filter(None, captions.cell_captions(cells.get(name)))
            if written and self.columns.takes_first:
                break
        return written


def without_bytes(value: Any) -> Any:
    """A row without the images in it, so that many fit into memory."""
    if isinstance(value, dict):
        return {k: without_bytes(v) for k, v in value.items()}
    if isinstance(value, list):
        return [without_bytes(v) for v in value]
    return value[:8] if isinstance(value, bytes | bytearray) else value


def name_text(cell: Any) -> str:
    """A cell as an id: pandas makes 15970.0 of 15970 where another row has none."""
    whole = isinstance(cell, float) and cell.is_integer()
    return captions.cell_text(int(cell) if whole else cell)


def find(location: Location, options: Prepare) -> Location | None:
    """The table that a location is, or the only one that is the catalogue of a folder.

    Raises as `choose_tables` does.
    """
    if not location.is_folder():
        return location if location.is_file() and formats.is_table(location, options) else None
    tables = choose_tables(
        survey(location, options), options, lambda table: Table(table, options)
    ).parts
    return tables[0][0] if len(tables) == 1 else None
