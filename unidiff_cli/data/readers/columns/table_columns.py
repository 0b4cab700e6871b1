"""Which column of a table is what.

Columns are found by their names and by what they hold, or mapped by `prepare.columns.*`;
`prepare.columns.split: ''` says that there is none. Exports of shop systems say it themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data import captions
from unidiff_cli.data.caption_lists import languages
from unidiff_cli.data.columns import ROLES, is_parent, named, names_classes, words
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.locations import Location
from unidiff_cli.data.prompts import load_prompts
from unidiff_cli.data.readers.columns import product_column, split_column
from unidiff_cli.data.readers.columns.caption_column import CaptionColumn
from unidiff_cli.data.readers.columns.feed import Feed
from unidiff_cli.data.readers.columns.image_cells import images_of
from unidiff_cli.data.readers.columns.image_columns import ImageColumns
from unidiff_cli.data.readers.columns.image_places import ImagePlaces
from unidiff_cli.data.readers.columns.image_splits import folder_of_splits, paths_of
from unidiff_cli.data.readers.columns.product_views import ProductViews
from unidiff_cli.data.readers.rows.cells import Cells
from unidiff_cli.data.sample import Reason
from unidiff_cli.data.split_words import setting
from unidiff_cli.errors import TooLarge, UsageError, nearest

# Words in the names of columns that hold a class of goods.
KINDS = frozenset("label labels class category kind type".split())
# Rows whose images are looked for in a table without captions.
ROWS = 20


class WithoutCaptions(UsageError):
    """No column is a caption; `names_images`: the table's rows name images that are there."""

    names_images = False


class TableColumns:
    """The columns of a table, understood from its first rows.

    `roles` maps image, caption, id, product and split to a column (the first of several), or to
    None. `captions` are the caption columns, and `takes_first` says that the first filled one is
    the caption. `doubts` says what may be meant otherwise. Raises UsageError where images or
    captions have no column, or a column of the recipe is not there.
    """

    def __init__(
        self,
        table: Location,
        head: Sequence[Cells],
        options: Prepare,
        places: ImagePlaces,
        feed: Feed | None = None,
    ) -> None:
        self.table, self.options, self.feed = table, options, feed
        self.head = head
        self.names = list(dict.fromkeys(name for cells in self.head for name in cells))
        if len(self.names) > options.limits.columns:
            raise TooLarge(
                f"{table} has {len(self.names):,} columns, more than {options.limits.columns:,}.",
                f"Allow more: --set prepare.limits.columns={len(self.names)}",
            )
        self.roles: dict[str, str | None] = dict.fromkeys(ROLES)
        self.captions: list[str] = []
        self.takes_first = options.captions == "first"
        # The column that a parent column names products by; None where the id is it.
        self.own_product: str | None = None
        # Whether images that differ in their view are one product, where no column says it.
        self.has_views = False
        # The part of an image's path that says its split; None where a column does, or nothing.
        self.split_part: int | None = None
        # Words of splits that the recipe explains.
        self.split_words = {
            word.strip().lower(): split for word, split in options.split_words.items()
        }
        self.doubts: list[Doubt] = []
        self._refuse_missing()
        wanted = feed.columns(feed.images) if feed else []
        folders = not names_classes(table.name)
        self.images = ImageColumns(head, self.names, places, options, wanted, folders)
        self.doubts += self.images.doubts
        if self.head:
            self._understand()

    def decisions(self) -> dict[str, str]:
        """What decides the result: the column of each role, and how images are read."""
        decisions = {f"{role} column": text for role, text in self._columns().items()}
        if self.feed:
            decisions = {"columns of": self.feed.title, **decisions}
        if patterns := self.images.patterns():
            decisions["images found"] = ", ".join(patterns)
        if self.images.left_out:
            decisions["image columns not read"] = ", ".join(self.images.left_out)
        return decisions

    def _columns(self) -> dict[str, str]:
        """The column of each role that has one, in words."""
        template = f'"{self.options.caption}"' if self.options.caption else ""
        joined = " or ".join(self.captions) if self.takes_first else ", ".join(self.captions)
        product = self.roles["product"] or ""
        if self.feed and self.options.columns.product is None:
            product = self.feed.grouped_by
        if not product and self.images.several and self.options.images == "all":
            product = "the rows of several images"
        if not product and self.has_views:
            product = "images whose names differ in their view"
        split = self.roles["split"] or ""
        if self.split_part is not None:
            split = f"the folder in {self.roles['image']}"
        columns = {
            "image": ", ".join(self.images.names),
            "caption": template or joined,
            "id": self.roles["id"] or "",
            "product": product,
            "split": split,
        }
        return {role: text for role, text in columns.items() if text}

    def describe(self) -> list[str]:
        """The columns in lines for a person."""
        columns = [f"{role} = {text}" for role, text in self._columns().items()]
        lines = [f"columns: {', '.join(columns)}"]
        if self.feed:
            lines.insert(0, f"these are the columns of {self.feed.title}")
        used = {*self.images.names, *self.captions, *self.roles.values()}
        if others := [name for name in self.names if name not in used]:
            lines.append(f"kept as attributes: {', '.join(others)}")
        return [*lines, *self._distinct(), *self.images.describe()]

    def cell(self, role: str, cells: Cells) -> Any:
        """A row's cell of a role; None where no column has it."""
        return cells.get(self.roles[role] or "")

    def dropped(self) -> set[str]:
        """The columns that are no attributes: those of images, and those of captions."""
        return {*self.images.names, *(() if self.options.caption else self.captions)}

    def without_split(self) -> list[str] | None:
        """The columns that may still say a split in later rows; None where nothing is left open.

        The first rows of a sorted table are all train.
        """
        is_open = self.roles["split"] is None and self.split_part is None
        if not is_open or self.options.columns.split is not None:
            return None
        return self._of_few_words

    @cached_property
    def _of_few_words(self) -> list[str]:
        """Neither images nor objects: a pass over the rows would unpack all of them."""
        taken = {*self.dropped(), *self.images.left_out}
        taken |= {name for row in self.head for name, cell in row.items() if _is_packed(cell)}
        free = [name for name in self.names if name not in taken]
        most = split_column.MOST_WORDS
        return [name for name in free if len(split_column.words_of(self.head, name)) <= most]

    def holds_images(self) -> bool:
        """Whether the images lie in the table itself."""
        images = (image for cells in self.head for _, image in self.images.images(cells))
        return any(isinstance(image, bytes) for image in images)

    # ---- the choice

    def _refuse_missing(self) -> None:
        """Raises UsageError where a column that the recipe maps is not there."""
        if not self.head:
            return
        for role in ROLES:
            for column in self.options.columns.names(role):
                if column not in self.names:
                    raise self._missing(f"prepare.columns.{role}", column)
        for column in self.options.where:
            if column not in self.names:
                raise self._missing("prepare.where", column)

    def _understand(self) -> None:
        self.roles["image"] = next(iter(self.images.names), None)
        if self.roles["image"] is None:
            raise UsageError(
                f"{self.table.name} has no column that names images.",
                f"Its columns: {', '.join(self.names)}. "
                "Map one: --set prepare.columns.image=COLUMN",
            )
        self._find_captions()
        # The number of a product may be the name of its folder of images.
        taken = {name for name in self.images.names if not self.images.names_folders(name)}
        free = [name for name in self.names if name not in taken]
        for role in ("id", "product", "split"):
            mapped = getattr(self.options.columns, role)
            self.roles[role] = (mapped or None) if mapped is not None else self._found(role, free)
        product = self.roles["product"]
        if product and is_parent(product):
            self.own_product = product_column.referred(self.head, product, free)
        self.has_views = self._has_views()
        self._find_split()

    def _has_views(self) -> bool:
        """Whether the names of images group them, as S1_front.jpg and S1_back.jpg do."""
        if self.feed or self.roles["product"] or self.options.columns.product is not None:
            return False
        images = [image for row in self.head for _, image in self.images.images(row)]
        views = ProductViews(image for image in images if isinstance(image, str))
        return views.is_usual and bool(views.describe())

    def _found(self, role: str, free: Sequence[str]) -> str | None:
        if role == "product":
            if self.feed:
                return None
            return product_column.product_column(
                self.head, free, self.captions, self.images.names, self.doubts
            )
        if role == "split":
            values = {name: split_column.words_of(self.head, name) for name in free}
            return split_column.split_column(values, self.split_words, self.doubts)
        ids = self.feed.columns(self.feed.ids) if self.feed else named("id", free)
        filled = (
            name for name in ids if any(captions.cell_text(row.get(name)) for row in self.head)
        )
        return next(filled, None)

    def _find_captions(self) -> None:
        if self.options.caption:
            for column in captions.fields(self.options.caption):
                if column not in self.names:
                    raise self._missing("A column of prepare.caption", column)
            return
        products = product_column.products(self.head, self.names)
        found = CaptionColumn(self.head, self.names, self.images.names, products)
        mapped = self.options.columns.names("caption")
        by_feed = self.feed.columns(self.feed.captions) if self.feed else []
        if mapped:
            self.captions = list(mapped)
        elif by_feed:
            self.captions, self.takes_first = by_feed, True
        else:
            self.captions = found.names
            self.doubts += found.doubts
        if not self.captions:
            raise self._without_captions()
        self.roles["caption"] = self.captions[0]
        self._texts = found.texts(self.captions[0])
        self.doubts += [*found.few(self.captions), *self._languages()]

    def _languages(self) -> Iterator[Doubt]:
        """A doubt where the cells of a caption column have a text in each language."""
        for column in self.captions:
            names = {name for row in self.head for name in languages(row.get(column))}
            if len(names) > 1:
                yield Doubt(
                    f"The column '{column}' has captions in several languages, and all are read: "
                    f"{', '.join(sorted(names))}.",
                    "If one is meant, keep that one alone in the column.",
                )

    def _without_captions(self) -> WithoutCaptions:
        """What to do where no column is a caption; a class can be made one by a template."""
        cells = self.head[0]
        named_so = [name for name in self.names if KINDS & set(words(name))]
        kinds = [name for name in named_so if not isinstance(cells.get(name), int | float)]
        of_class = load_prompts().class_caption
        template = of_class.replace("class", kinds[0]) if kinds else "{name} in {color}"
        problem = WithoutCaptions(
            f"{self.table.name} has no caption column.",
            f"Its columns: {', '.join(self.names)}. "
            "Map one: --set prepare.columns.caption=COLUMN, "
            f"or several: --set 'prepare.caption=\"{template}\"'",
        )
        problem.names_images = any(map(self._has_image, self.head[:ROWS]))
        return problem

    def _has_image(self, cells: Cells) -> bool:
        """Whether an image of a row is there."""
        for column, image in self.images.images(cells):
            file = image if isinstance(image, bytes) else self.images.locate(column, image)
            if isinstance(file, bytes) or (not isinstance(file, Reason) and file.is_file()):
                return True
        return False

    def _distinct(self) -> list[str]:
        """How many captions of the first rows differ."""
        if not self.captions:
            return []
        texts = self._texts
        return [
            f"captions: {texts.distinct:,} of {texts.texts:,} differ in the first "
            f"{len(self.head):,} rows"
        ]

    def _find_split(self) -> None:
        column = self.roles["split"]
        if column and not split_column.is_understood(self.head, column, self.split_words):
            if self.options.columns.split:
                values = dict.fromkeys(captions.cell_text(row.get(column)) for row in self.head)
                words = [value for value in values if value]
                raise UsageError(
                    f"prepare.columns.split is '{column}', and none of its values is understood: "
                    f"{', '.join(words[:5])}.",
                    f"Say what each means: {setting(words[0], 'test')}",
                )
        if column is None and self.options.columns.split is None:
            names = [
                image
                for row in self.head
                for image in images_of(row.get(self.roles["image"] or ""))[:1]
                if isinstance(image, str)
            ]
            self.split_part = folder_of_splits(paths_of(names), self.split_words)

    def _missing(self, key: str, column: str) -> UsageError:
        return UsageError(
            f"{key} is '{column}', but {self.table.name} has no such column."
            f"{nearest(column, self.names)}",
            f"Its columns: {', '.join(self.names)}.",
        )


def _is_packed(cell: Any) -> bool:
    """Whether a cell is an image, an object, or a list of them."""
    if isinstance(cell, list | tuple):
        return any(map(_is_packed, cell))
    return isinstance(cell, bytes | bytearray | dict)
