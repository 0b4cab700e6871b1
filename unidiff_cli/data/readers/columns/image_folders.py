"""Cells that name a folder, such as a product's number.

The images in it are those of the row, or another cell names the file: S001 and 1.jpg.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median

from unidiff_cli.data import columns
from unidiff_cli.data.locations import Location
from unidiff_cli.data.readers.columns.image_cells import NO_PHOTO, SMALL, parts_of
from unidiff_cli.data.sample import IMAGE_SUFFIXES, Rejected
from unidiff_cli.data.walk import walk

# Folders of images that may be named from there, and the share of names that have to be there.
PLACES = ("", "images", "image", "imgs", "img", "photos", "pictures", "products")
NEARLY_ALL = 0.8
# Different names at least, by number and by share of the rows: a folder of a class or a split is
# no product's.
FEW, SHARE = 2, 0.5
# Images of a product, in most of the folders.
IMAGES = 24


def base_of(names: Sequence[str], tops: Iterable[Location]) -> Location | None:
    """The folder in which nearly all of these names are folders of images; None for none."""
    filled = [name.strip() for name in names if name.strip()]
    distinct = list(dict.fromkeys(filled))
    if len(distinct) < max(FEW, SHARE * len(filled)):
        return None
    for top in tops:
        for place in PLACES:
            base = top.child(place) if place else top
            if not place or base.is_folder():
                counts = [count for name in distinct if (count := len(images_in(base, name)))]
                if len(counts) >= NEARLY_ALL * len(distinct):
                    return base if median(counts) <= IMAGES else None
    return None


def base_of_pairs(pairs: Sequence[tuple[str, str]], tops: Iterable[Location]) -> Location | None:
    """The folder in which nearly all of these (folder, file) names are images; None for none."""
    paths = [joined(folder, name) for folder, name in pairs if folder.strip() and name.strip()]
    if len({folder for folder, _ in pairs}) < FEW or len(paths) < NEARLY_ALL * len(pairs):
        return None
    for top in tops:
        for place in PLACES:
            base = top.child(place) if place else top
            if not place or base.is_folder():
                files = sum(bool(path) and base.child(path).is_file() for path in paths)
                if files >= NEARLY_ALL * len(paths):
                    return base
    return None


def joined(folder: str, name: str) -> str:
    """The path of a file in a folder that another cell names; "" where it would lead out."""
    parts = parts_of(folder), parts_of(name)
    return "/".join((*parts[0], *parts[1])) if all(parts) else ""


def images_in(base: Location, name: str) -> list[str]:
    """The images in the folder that a name means, as paths from the base.

    Small copies and masks, by their names, count where nothing else is there.
    """
    folder = base.child("/".join(parts)) if (parts := parts_of(name)) else None
    if folder is None or not folder.is_folder():
        return []
    items = walk(folder, Counter())
    files = [item for item in items if not isinstance(item, Rejected)]
    paths = [file.relative_to(base) for file in files if file.suffix in IMAGE_SUFFIXES]
    photos = [
        path for path in paths if not (SMALL | NO_PHOTO) & set(columns.words(path[len(name) :]))
    ]
    return photos or paths
