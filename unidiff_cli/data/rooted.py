"""Locations that are read as if they lay elsewhere: a table below other images, a folder with zips.

The paths of a table start in its `parent`. Where its images lie in another folder of the catalogue
that folder is its parent here; where they lie in zips, that is a folder with the zips laid over it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from unidiff_cli.data.locations import Entry, Location, Stat


@dataclass(frozen=True)
class Rooted(Location):
    """A file whose parent is another folder than the one it lies in."""

    file: Location
    base: Location

    def __str__(self) -> str:
        return str(self.file)

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def parent(self) -> Location:
        return self.base

    @property
    def held(self) -> int:
        return self.file.held

    def stat(self) -> Stat:
        return self.file.stat()

    def open(self) -> IO[bytes]:
        return self.file.open()

    def entries(self) -> list[Entry]:
        return self.file.entries()

    def child(self, path: str) -> Location:
        return self.file.child(path)

    def relative_to(self, folder: Location) -> str:
        return self.file.relative_to(folder)

    def is_below(self, folder: Path) -> bool:
        return self.file.is_below(folder)


@dataclass(frozen=True)
class Overlay(Location):
    """A folder that also has what lies in some archives, each as if it were unpacked into it.

    A file of the folder wins. `images/a.jpg` is `a.jpg` of images.zip too. What lies below is a
    location of the folder or of an archive; its parent is no overlay.
    """

    folder: Location
    # The top of each archive.
    archives: tuple[Location, ...]

    def __str__(self) -> str:
        return str(self.folder)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def parent(self) -> Location:
        return self.folder.parent

    def stat(self) -> Stat:
        return self.folder.stat()

    def open(self) -> IO[bytes]:
        return self.folder.open()

    def entries(self) -> list[Entry]:
        return self.folder.entries() + [Entry(top, is_folder=True) for top in self.archives]

    def child(self, path: str) -> Location:
        file = self.folder.child(path)
        if file.exists():
            return file
        return next((place for place in self._packed(path) if place.exists()), file)

    def relative_to(self, folder: Location) -> str:
        return self.folder.relative_to(folder)

    def is_below(self, folder: Path) -> bool:
        return self.folder.is_below(folder)

    def _packed(self, path: str) -> list[Location]:
        """What a path may be in the archives."""
        places = [top.child(path) for top in self.archives]
        first, _, rest = path.partition("/")
        stems = [(top, PurePosixPath(top.name).stem) for top in self.archives]
        return places + [top.child(rest) if rest else top for top, stem in stems if stem == first]
