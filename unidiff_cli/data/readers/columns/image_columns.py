"""Which columns of a table hold images, and which of them show another photo.

A table may have several: the photo, further photos, and small copies, masks or drawings of it. The
photo and the further ones are used. The sizes of the files say which of two copies is the photo.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import inf
from statistics import median
from typing import Any

from PIL import Image as PillowImage

from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data import captions, columns
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.image_files import ImageBounds, with_image
from unidiff_cli.data.locations import InMemory, Location, shown
from unidiff_cli.data.readers.columns.image_cells import (
    NO_PHOTO,
    SMALL,
    Image,
    images_of,
    is_image_name,
)
from unidiff_cli.data.readers.columns.image_folders import base_of, base_of_pairs, images_in, joined
from unidiff_cli.data.readers.columns.image_places import ImagePlaces
from unidiff_cli.data.readers.columns.place_search import Place
from unidiff_cli.data.readers.rows.cells import Cells
from unidiff_cli.data.sample import Reason

# Rows looked at for images that are files, and images of a column that are measured.
FILES, MEASURED = 50, 12
# A copy whose sides are shorter by this is a thumbnail.
SMALLER = 0.75
# Words in the names of columns: further photos, and pairs of photos.
FURTHER = frozenset(
    """
    additional gallery more other extra further alternate alternative back front side hover detail
    variant second lifestyle images photos pictures media rear top bottom left right
    """.split()
)
# Numbers in the names of columns count photos up to here, and say their sizes from here on.
FIRST_SIZE = 64
PAIRS = frozenset("source target before after input output original edited".split())


@dataclass(frozen=True)
class _Column:
    """A column with images: where they are files, and how many of the rows looked at have one."""

    name: str
    place: Place
    hits: int
    doubts: tuple[Doubt, ...] = ()
    # The folder in which its cells name folders of images.
    folders: Location | None = None
    # The column that names the folder of each file.
    parent: str | None = None


class ImageColumns:
    """The image columns of a table, by its first rows.

    `names` are those that are used, in order, and `left_out` says of each other one why not.
    `folders` says whether cells may name folders of images, which those of classes do not.
    """

    def __init__(
        self,
        head: Sequence[Cells],
        column_names: Sequence[str],
        places: ImagePlaces,
        options: Prepare,
        wanted: Sequence[str] = (),
        folders: bool = True,
    ) -> None:
        self._head, self._all, self._places = head, column_names, places
        self._may_name_folders = folders
        # Rows of several images have no product of their own: they are one.
        self.several = False
        self._options = options
        self.left_out: dict[str, str] = {}
        self.doubts: list[Doubt] = []
        self._columns: dict[str, _Column] = {}
        mapped = options.columns.names("image")
        for name in mapped or self._chosen(wanted):
            column = self._found.get(name) or self._column(name)
            self._columns.setdefault(name, column if column.hits else self._of_folders(name))
        for column in self._columns.values():
            self.doubts += column.doubts
        self.several = any(len(self.images(row)) > 1 for row in head)

    @property
    def names(self) -> list[str]:
        return list(self._columns)

    def describe(self) -> list[str]:
        """Where the images lie and what is left out, in lines for a person."""
        lines = [f"images are found {pattern}" for pattern in self.patterns()]
        return lines + [f"not read: {name}, {why}" for name, why in self.left_out.items()]

    def patterns(self) -> list[str]:
        """Where the images lie, where they are not found as they are written."""
        return list(filter(None, map(self._pattern, self._columns.values())))

    def images(self, cells: Cells) -> list[tuple[str, Image]]:
        """The images of a row with their columns, those that repeat left out."""
        images = [
            (name, image)
            for name, column in self._columns.items()
            for image in _images(column, cells)
        ]
        return list({image: (name, image) for name, image in reversed(images)}.values())[::-1]

    def why_none(self, cells: Cells) -> str:
        """Why a row has no image."""
        name, column = next(iter(self._columns.items()))
        folder = captions.cell_text(cells.get(name))
        if folder and column.folders is not None:
            return f"no image: the folder '{shown(folder[:80])}' is not there or holds none"
        return f"no image: the column '{name}' is empty"

    def names_folders(self, name: str) -> bool:
        """Whether the cells of a column name folders of images, as a product's number may."""
        return name in self._columns and self._columns[name].folders is not None

    def locate(self, column: str, name: str) -> Location | Reason:
        """The file of a name, or why there is none that may be opened."""
        return self._places.locate(name, self._columns[column].place)

    # ---- which columns

    def _chosen(self, wanted: Sequence[str]) -> list[str]:
        """The columns to use: those a feed names, where they are there, or the photo's and more."""
        found = self._found
        by_feed = [name for name in wanted if name in self._all]
        first = next((name for name in by_feed if name in found), None) or self._first()
        if first is None:
            return by_feed[:1] or columns.named("image", self._all)[:1]
        names = [first]
        for name in found:
            if name == first:
                continue
            if name in by_feed:
                names.append(name)
            else:
                self._judge(name, first, names)
        return sorted(names, key=lambda name: name != names[0])

    def _first(self) -> str | None:
        """The column that most rows have a file in, likeliest names first."""
        best = None
        for column in self._found.values():
            if best is None or column.hits > best.hits + 2:
                best = column
        return best.name if best and best.hits else None

    def _judge(self, name: str, first: str, names: list[str]) -> None:
        """Adds a further column to the names, or says why it is left out."""
        words = set(columns.words(name))
        repeated = self._repeats(name, first)
        if words & NO_PHOTO:
            self.left_out[name] = "by its name no photo"
        elif repeated == 1:
            self.left_out[name] = f"the same files as {first}"
        elif words & SMALL:
            self.left_out[name] = f"by its name small copies of {first}"
        elif self._is_scattered(name) and self._is_fewer(name, first):
            self.left_out[name] = "the same few files in many rows, as logos and size charts are"
        elif _size_in(name) != _size_in(first) and _without_size(name) == _without_size(first):
            self._take_larger(name, names)
        elif words & FURTHER or _is_numbered(name):
            names.append(name)
        else:
            self._measure(name, names)

    def _take_larger(self, name: str, names: list[str]) -> None:
        """Of two sizes of one photo, such as image_1024 and image_128, the larger one."""
        first = names[0]
        if _size_in(name) > _size_in(first):
            names[0], first, name = name, name, first
        self.left_out[name] = f"by its name a smaller size of {first}"

    def _is_fewer(self, name: str, first: str) -> bool:
        """Whether a column has less than half as many different images as another one."""
        return 2 * len(set(self._of_rows(name))) < len(set(self._of_rows(first)))

    def _is_scattered(self, name: str) -> bool:
        """Whether images of a column come again after others; those of one product do not."""
        images = self._of_rows(name)
        runs = 1 + sum(one != other for one, other in pairwise(images))
        return 2 * runs > 3 * len(set(images))

    def _of_rows(self, name: str) -> list[Image]:
        """The first image of each of the first rows that has one."""
        return _first_images(row.get(name) for row in self._head)

    def _measure(self, name: str, names: list[str]) -> None:
        """The larger of two columns is the photo; of equal ones nobody knows."""
        first = names[0]
        size, other = self._side(name), self._side(first)
        if size < SMALLER * other:
            self.left_out[name] = f"{size:.0f} px a side, smaller than {first}"
        elif other < SMALLER * size and not self._is_fewer(name, first):
            self.left_out[first] = f"{other:.0f} px a side, smaller than {name}"
            names[0] = name
        else:
            names.append(name)
            is_pair = set(columns.words(name) + columns.words(first)) & PAIRS
            self.doubts.append(
                Doubt(
                    f"The columns {first} and {name} both hold images, and both are used with the "
                    "same caption.",
                    f"Say what is meant: --set prepare.columns.image={first}, "
                    f"or --set 'prepare.columns.image=[{first}, {name}]'",
                    stops=bool(is_pair) or name not in columns.named("image", self._all),
                )
            )

    def _repeats(self, name: str, first: str) -> float:
        """The share of a column's images that the first one has too, row by row."""

        def key(column: str, image: Image) -> Any:
            place = self._found[column].place
            return self._places.locate(image, place) if isinstance(image, str) else image

        # Of the images in a table only the first are kept whole.
        rows = [
            (images_of(row.get(name)), images_of(row.get(first))) for row in self._head[:MEASURED]
        ]
        shares = []
        for images, firsts in rows:
            files = {key(first, image) for image in firsts}
            shares += [key(name, image) in files for image in images]
        return sum(shares) / len(shares) if shares else 0.0

    def _side(self, name: str) -> float:
        """The middle of the longer sides of a column's images, px; 0 where none can be opened."""
        column = self._found[name]
        options = self._options
        bounds = ImageBounds(
            options.max_pixels, options.limits.image_bytes, options.limits.image_scans
        )
        sides = []
        for image in _first_images(row.get(name) for row in self._head[:MEASURED]):
            file = (
                InMemory(name, image)
                if isinstance(image, bytes)
                else self._places.locate(image, column.place)
            )
            side = with_image(file, bounds, _longer_side) if isinstance(file, Location) else 0
            sides.append(side if isinstance(side, int) else 0)
        return median(sides) if sides else 0.0

    # ---- where they are

    @cached_property
    def _found(self) -> dict[str, _Column]:
        """The columns that hold images, likeliest names first."""
        likely = columns.named("image", self._all)
        found = {}
        for name in dict.fromkeys([*likely, *self._all]):
            column = self._column(name, search=name in likely)
            if column.hits:
                found[name] = column
        # Names without an ending count where no other column holds images: styles.csv's id.
        whole = {name: column for name, column in found.items() if not column.place.ending}
        if found:
            return whole or found
        # Perhaps numbers that a spreadsheet has changed, whatever their column is called.
        others = (self._column(name, search=True) for name in self._all)
        if loose := {column.name: column for column in others if column.hits}:
            return loose
        of_folders = map(self._of_folders, dict.fromkeys([*likely, *self._all]))
        return {column.name: column for column in of_folders if column.hits}

    def _column(self, name: str, search: bool = True) -> _Column:
        images = _first_images(row.get(name) for row in self._head[:FILES])
        names = [image for image in images if isinstance(image, str)]
        if search or sum(map(is_image_name, names)) > len(names) / 2:
            place, hits, doubts = self._places.find(names)
        else:
            (place, hits, _), doubts = self._places.as_written(names), []
        is_unclear = doubts or 2 * hits < len(names)
        if is_unclear and sum(map(is_image_name, names)) > len(names) / 2:
            if column := self._with_folder(name):
                return column
        return _Column(name, place, hits + len(images) - len(names), tuple(doubts))

    def _with_folder(self, name: str) -> _Column | None:
        """A column of files whose folders another column names, if one does."""
        files = [captions.cell_text(row.get(name)) for row in self._head[:FILES]]
        tops = list(dict.fromkeys((self._places.folder, self._places.root)))
        for other in self._all:
            folders = [captions.cell_text(row.get(other)) for row in self._head[:FILES]]
            base = base_of_pairs(list(zip(folders, files, strict=True)), tops)
            if other != name and base is not None:
                return _Column(name, Place(base), len(list(filter(None, files))), parent=other)
        return None

    def _of_folders(self, name: str) -> _Column:
        """A column whose cells name folders of images, if they do."""
        values = [captions.cell_text(row.get(name)) for row in self._head[:FILES]]
        tops = dict.fromkeys((self._places.folder, self._places.root))
        base = base_of(values, tops) if self._may_name_folders else None
        if base is None:
            return self._column(name)
        return _Column(name, Place(base), len(list(filter(None, values))), folders=base)

    def _pattern(self, column: _Column) -> str:
        if column.parent:
            base = column.place.base
            below = base.relative_to(self._places.folder) if base else ""
            top = "" if below in ("", ".") else f"{below}/"
            return f"as {top}<{column.parent}>/<{column.name}>"
        if column.folders is None:
            return self._places.describe(column.place, column.name)
        below = column.folders.relative_to(self._places.folder)
        where = "" if below in ("", ".") else f", below {below}"
        return f"in the folders that '{column.name}' names{where}"


def _images(column: _Column, cells: Cells) -> list[Image]:
    """The images of a row's cell, or those in the folder that it names."""
    cell = cells.get(column.name)
    if column.folders is not None:
        return list(images_in(column.folders, captions.cell_text(cell)))
    images = images_of(cell)
    if column.parent is None:
        return images
    folder = captions.cell_text(cells.get(column.parent))
    return [joined(folder, i) or i if isinstance(i, str) and folder else i for i in images]


def _is_size(word: str) -> bool:
    return word.isdecimal() and int(word) >= FIRST_SIZE


def _size_in(name: str) -> float:
    """The size in a column's name, px; a name without one is that of the original."""
    return max((int(word) for word in columns.words(name) if _is_size(word)), default=inf)


def _without_size(name: str) -> list[str]:
    """The words of a column's name without its size: image of image_128x128."""
    return [word for word in columns.words(name) if not _is_size(word) and word not in ("x", "px")]


def _is_numbered(name: str) -> bool:
    """Whether a column's name counts photos, such as image_2."""
    return any(word.isdecimal() and not _is_size(word) for word in columns.words(name))


def _first_images(cells: Iterable[Any]) -> list[Image]:
    return [image for cell in cells for image in images_of(cell)[:1]]


def _longer_side(_: bytes, image: PillowImage.Image) -> int:
    return max(image.size)
