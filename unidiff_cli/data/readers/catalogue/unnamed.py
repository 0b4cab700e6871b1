"""Images of a catalogue that no row of its tables names: counted, and named where they matter."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unidiff_cli.data import columns
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.locations import Location, shown
from unidiff_cli.data.readers.catalogue.survey import Sources
from unidiff_cli.data.readers.columns.image_cells import NO_PHOTO, SMALL
from unidiff_cli.data.sample import IMAGE_SUFFIXES
from unidiff_cli.data.split_words import split_of

UNNAMED = "images that no row of the table names, left out"
# The share of all images above which those that no row names are doubtful.
MANY = 0.05
ACTION = "If they belong to the catalogue, add rows for them; else move them out of it."


class NamedFiles:
    """The files that the rows of a table name: eight bytes each."""

    def __init__(self) -> None:
        self.hashes = array("q")

    def add(self, file: Location) -> None:
        self.hashes.append(hash(str(file)))


@dataclass
class Unnamed:
    """The images that no row names, as many as there are in each folder."""

    root: Location
    images: int
    folders: dict[Location, int]
    named: np.ndarray

    @property
    def total(self) -> int:
        return sum(self.folders.values())

    def doubts(self, all_are_meant: bool) -> list[Doubt]:
        """What is doubtful: many images, and a folder of a split.

        Without `all_are_meant` rows or columns are left out on purpose, and so are their images.
        """
        held = {folder: n for folder, n in self.folders.items() if self._is_split(folder)}
        if all_are_meant and self.total > MANY * self.images:
            held = self.folders
        if not held:
            return []
        most = max(held, key=held.__getitem__)
        count = sum(held.values())
        what = f"{count:,} image{'s' * (count != 1)}"
        path = most.relative_to(self.root)
        where = "in the catalogue" if len(held) > 1 or path == "." else f"in {path}"
        return [
            Doubt(
                f"{what} {where} {'are' if count != 1 else 'is'} named by no row of the table, "
                f"such as {self._example(most)}.",
                ACTION,
            )
        ]

    def _is_split(self, folder: Location) -> bool:
        return any(map(split_of, folder.relative_to(self.root).split("/")))

    def _example(self, folder: Location) -> str:
        """The first image of a folder that no row names."""
        try:
            files = [entry.location for entry in folder.entries() if not entry.is_folder]
        # It was there a moment ago.
        except OSError:
            return shown(folder.relative_to(self.root))
        files = [file for file in files if file.suffix in IMAGE_SUFFIXES]
        hashes = np.array([hash(str(file)) for file in files], np.int64)
        unnamed = np.flatnonzero(~np.isin(hashes, self.named))
        return shown(files[unnamed[0]].relative_to(self.root)) if unnamed.size else "others"


def unnamed_images(sources: Sources, tables: Sequence[NamedFiles]) -> Unnamed:
    """The images of a folder that no row of these tables names, small copies and masks apart."""
    named = np.concatenate([_numbers(table.hashes) for table in tables])
    is_unnamed = ~np.isin(_numbers(sources.hashes), named)
    places = np.frombuffer(sources.places, np.int32)[is_unnamed]
    counts = np.bincount(places, minlength=len(sources.folders)).tolist()
    folders = {
        folder: count
        for folder, count in zip(sources.folders, counts, strict=True)
        if count and not (SMALL | NO_PHOTO) & set(columns.words(sources.path(folder)))
    }
    return Unnamed(sources.root, sources.images, folders, named)


def _numbers(hashes: array[int]) -> np.ndarray:
    # A copy: an array that is looked at cannot grow.
    return np.array(hashes, np.int64)
