"""Which file a name in a table means."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.locations import Kind, Location, shown
from unidiff_cli.data.readers.columns.image_cells import is_absolute, is_address, parts_of
from unidiff_cli.data.readers.columns.image_index import MOST_FILES
from unidiff_cli.data.readers.columns.place_search import Place, PlaceSearch
from unidiff_cli.data.sample import Reason

ADDRESS = "a web address: unidiff reads images from disk, so download it first"
ABSOLUTE = "an absolute path: images are named relative to the table"
OUTSIDE = "a path that leads out of the catalogue's folder"


class _Tried(NamedTuple):
    """A file that was looked for, and what is there."""

    file: Location
    kind: Kind | None


class ImagePlaces(PlaceSearch):
    """Finds the files that a table names. Nothing outside the catalogue is opened.

    `misspelled` counts names that mean a file only when they are spelled loosely, with an example,
    in the latest pass. `joined` counts names of which another one means the same file already.
    """

    def __init__(self, root: Location, folder: Location, options: Prepare) -> None:
        super().__init__(root, folder, options)
        self.misspelled: Counter[str] = Counter()
        self.example: tuple[str, str] | None = None
        self.joined = 0
        # Two of these names, and their file.
        self.pair: tuple[str, str, str] | None = None
        # A file that was searched for -> the path that first named it.
        self._named: dict[str, tuple[str, ...]] = {}

    def locate(self, name: str, place: Place) -> Location | Reason:
        """The file a name means, or why it means none that may be opened."""
        if "\0" in name:
            return Reason("a path with a NUL byte")
        is_whole = is_absolute(name)
        if is_whole and (file := self._inside(name)):
            return file
        # Nearly all names are files as they are written, and nothing else is asked of them.
        written = self._written(name, place) if place.is_written and not is_whole else None
        if written and written.kind == "file":
            return written.file.known_inside()
        parts = parts_of(name)
        if not place.is_searched:
            if is_address(name):
                return Reason(ADDRESS)
            if is_whole:
                return Reason(ABSOLUTE)
        if not parts:
            return Reason(OUTSIDE)
        if place.base is None:
            return self._anywhere(parts, is_address(name))
        path = place.path(parts)
        spelled = self._spelled(place.base, path, written)
        found = spelled or self._loosely(name, place, path, written)
        if place.is_searched and isinstance(found, Location):
            self._remember(parts, found)
        return found

    def describe(self, place: Place, column: str) -> str:
        """How images are found, in words; "" where names are paths from the table."""
        if place.base is None:
            return f"by the name of the file in '{column}', in any folder"
        folder = place.base.relative_to(self.folder)
        folder = "" if folder == "." else folder
        if not place.is_written:
            below = f"below {folder or 'the folder of the table'}"
            ending = f", with {place.ending} added" if place.ending else ""
            return f"by the end of the path in '{column}', {below}{ending}"
        pattern = os.path.join(folder, f"<{column}>") + place.ending
        return "" if pattern == f"<{column}>" else f"as {pattern}"

    def doubts(self) -> list[Doubt]:
        """Names that are spelled otherwise than their files, and different names of one file."""
        return [*self._joined(), *self._misspelled()]

    def _joined(self) -> list[Doubt]:
        if self.pair is None:
            return []
        one, other, file = self.pair
        return [
            Doubt(
                f"{self.joined:,} names mean a file that another name means too: '{one}' and "
                f"'{other}' are both found as '{file}'.",
                "Lay the images as the table names them, or say where they start: "
                "--set prepare.images_root=FOLDER.",
                stops=True,
            )
        ]

    def _misspelled(self) -> list[Doubt]:
        if not self.example or self.options.spelling == "loose":
            return []
        name, file = self.example
        return [
            Doubt(
                f"{self.misspelled.total():,} names are spelled otherwise than their files, such "
                f"as '{name}'; did you mean '{file}'?",
                "If so: --set prepare.spelling=loose. If not: --set prepare.spelling=exact",
                stops=True,
            )
        ]

    def begin_pass(self) -> None:
        self.misspelled.clear()
        self.example = None
        self.joined, self.pair = 0, None
        self._named.clear()

    # ---- one name

    def _inside(self, name: str) -> Location | None:
        """The file of an absolute path of this machine, where it lies in the catalogue."""
        for top in dict.fromkeys((str(self.root), os.path.realpath(str(self.root)))):
            relative = os.path.relpath(name.strip(), top) if name.startswith("/") else ".."
            if not relative.startswith(".."):
                file = self.root.child(relative)
                return file if file.kind() in ("file", "outside") else None
        return None

    def _remember(self, parts: tuple[str, ...], file: Location) -> None:
        """Notes which path a file was found for; counts another path that finds it too."""
        if len(self._named) > MOST_FILES:
            return
        first = self._named.setdefault(str(file), parts)
        if first != parts:
            self.joined += 1
            names = shown("/".join(first)), shown("/".join(parts))
            self.pair = self.pair or (*names, file.relative_to(self.root))

    def _written(self, name: str, place: Place) -> _Tried | None:
        """The file of exactly this name, blanks, backslashes and all; None: it leads out."""
        assert place.base is not None
        file = self._below(place.base, name + place.ending)
        return _Tried(file, file.kind()) if file else None

    def _spelled(self, base: Location, path: str, tried: _Tried | None) -> Location | None:
        """The file of a path, its accents spelled in any way."""
        spellings = dict.fromkeys(
            (path, unicodedata.normalize("NFC", path), unicodedata.normalize("NFD", path))
        )
        files = (base.child(spelling) for spelling in spellings if path)
        return next((file for file in files if _kind(file, tried) == "file"), None)

    def _loosely(
        self, name: str, place: Place, path: str, tried: _Tried | None
    ) -> Location | Reason:
        """The one file that a name may mean when it is spelled loosely; else the missing file."""
        assert place.base is not None
        missing = place.base.child(path or shown(name))
        # A link that leads out is refused where it is opened.
        if self.options.spelling == "exact" or not path or _kind(missing, tried) is not None:
            return missing
        wanted = tuple(path.split(os.sep))
        top = place.base.relative_to(self.index.root)
        above = () if top in ("", ".") else tuple(top.split("/"))
        matches = [
            match
            for match in self.index.matches(wanted, is_address(name))
            # It lies below the same folder, at the same depth.
            if match.shared >= len(wanted) and len(match.parts) == len(above) + len(wanted)
        ]
        if not matches:
            return missing
        if len(matches) > 1:
            files = " and ".join(match.file.relative_to(self.root) for match in matches[:2])
            return Reason(f"no such file, and its name may mean several: {files}")
        file = matches[0].file
        self.misspelled[name] += 1
        self.example = self.example or (shown(name), file.relative_to(self.root))
        return file

    def _anywhere(self, parts: Sequence[str], is_address: bool) -> Location | Reason:
        matches = self.index.matches(parts, is_address)
        if not matches:
            return Reason("no file of this name is in the catalogue")
        if len(matches) > 1:
            files = " and ".join(match.file.relative_to(self.root) for match in matches[:2])
            return Reason(f"a name that several files have: {files}")
        return matches[0].file


def _kind(file: Location, tried: _Tried | None) -> Kind | None:
    """What is there, not asked for a second time."""
    return tried.kind if tried and tried.file == file else file.kind()
