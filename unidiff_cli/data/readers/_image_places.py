"""Where the images of a table lie, and which file a name in it means."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from unidiff_cli.config.schema import Prepare
from unidiff_cli.data import columns
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.locations import Location, locate, shown
from unidiff_cli.data.readers._image_cells import (
    NO_PHOTO,
    SMALL,
    is_absolute,
    is_address,
    parts_of,
    suffix_of,
)
from unidiff_cli.data.readers._image_index import ImageIndex, Match
from unidiff_cli.data.sample import IMAGE_SUFFIXES, Reason
from unidiff_cli.errors import UsageError

# Where images may lie, from the table's folder, and what their names may lack.
FOLDERS = ("", "images", "image", "imgs", "img", "photos", "pictures")
ENDINGS = ("", ".jpg", ".jpeg", ".png", ".webp")
# A place that holds fewer of the names does not explain a column.
EXPLAINED = 0.5
ADDRESS = "a web address: unidiff reads images from disk, so download it first"
ABSOLUTE = "an absolute path: images are named relative to the table"
OUTSIDE = "a path that leads out of the catalogue's folder"


@dataclass(frozen=True)
class Place:
    """Where the names of a column are files.

    Below `base`, without their first `drop` parts, or with their last `keep` parts only, and with
    `ending` added. Without a base the name stands for the one file of the catalogue that has it.
    `is_searched` says that whole paths and addresses are such names too.
    """

    base: Location | None
    drop: int = 0
    keep: int = 0
    ending: str = ""
    is_searched: bool = False

    @property
    def is_written(self) -> bool:
        """Whether names are relative paths, as they are written."""
        return self.base is not None and not self.drop and not self.keep

    def path(self, parts: Sequence[str]) -> str:
        """The path below the base that a name's parts mean; "" for too few parts."""
        rest = parts[-self.keep :] if self.keep else parts[self.drop :]
        return os.path.join(*rest) + self.ending if rest else ""


class _Found(NamedTuple):
    place: Place
    hits: int
    rivals: list[Location]


class ImagePlaces:
    """Finds the files that a table names. Nothing outside the catalogue is opened.

    `folder` is the table's, `root` the catalogue's. `misspelled` counts names that mean a file
    only when they are spelled loosely, with an example, in the latest pass.
    """

    def __init__(self, root: Location, folder: Location, options: Prepare) -> None:
        self.root, self.folder, self.options = root, folder, options
        self._media = self._media_folder()
        self.index = ImageIndex(self._media or root)
        self.misspelled: Counter[str] = Counter()
        self.example: tuple[str, str] | None = None
        # A folder -> where its paths may not lead out of, and the path from there.
        self._tops: dict[Location, tuple[Location, str]] = {}

    def find(self, names: Sequence[str]) -> tuple[Place, int, list[Doubt]]:
        """The place that holds the most of these names, how many, and what is doubtful of it."""
        written = self.as_written(names)
        if written.hits >= 0.9 * len(names):
            return written.place, written.hits, []
        other = self._searched(names)
        if other.hits <= max(written.hits + 2 * bool(written.hits), EXPLAINED * len(names)):
            return written.place, written.hits, []
        return other.place, other.hits, self._rivals(other)

    def as_written(self, names: Sequence[str]) -> _Found:
        """The usual place below the table's folder, the catalogue's or `prepare.images_root`."""
        best = _Found(Place(self._media or self.folder), 0, [])
        tops = [self._media] if self._media else list(dict.fromkeys((self.folder, self.root)))
        bases = [top.child(name) if name else top for top in tops for name in FOLDERS]
        bases = [base for base in bases if base in tops or base.is_folder()]
        for base, ending in ((base, ending) for ending in ENDINGS for base in bases):
            hits = sum(self._is_image(base, name + ending) for name in names)
            if hits > best.hits + (2 if best.hits else 0):
                best = _Found(Place(base, ending=ending), hits, [])
            # No other place can hold more of them.
            if best.hits == len(names):
                break
        return best

    def locate(self, name: str, place: Place) -> Location | Reason:
        """The file a name means, or why it means none that may be opened."""
        if "\0" in name:
            return Reason("a path with a NUL byte")
        is_whole = is_absolute(name)
        if is_whole and (file := self._inside(name)):
            return file
        # Nearly all names are files as they are written, and nothing else is asked of them.
        if place.is_written and not is_whole and (file := self._written(name, place)):
            return file
        parts = parts_of(name)
        if not place.is_searched:
            if is_address(name):
                return Reason(ADDRESS)
            if is_whole:
                return Reason(ABSOLUTE)
        if not parts:
            return Reason(OUTSIDE)
        if place.base is None:
            return self._anywhere(parts)
        path = place.path(parts)
        return self._spelled(place.base, path) or self._loosely(name, place, path)

    def describe(self, place: Place, column: str) -> str:
        """Where images are found, as a pattern; "" where names are paths from the table."""
        if place.base is None:
            return f"<the file of {column}, in any folder>"
        folder = place.base.relative_to(self.folder)
        folder = "" if folder == "." else folder
        name = f"<{column}>" if place.is_written else f"<end of {column}>"
        pattern = os.path.join(folder, name) + place.ending
        return "" if pattern == f"<{column}>" else pattern

    def doubts(self) -> list[Doubt]:
        """Names that are spelled otherwise than their files."""
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

    # ---- one name

    def _inside(self, name: str) -> Location | None:
        """The file of an absolute path of this machine, where it lies in the catalogue."""
        for top in dict.fromkeys((str(self.root), os.path.realpath(str(self.root)))):
            relative = os.path.relpath(name.strip(), top) if name.startswith("/") else ".."
            if not relative.startswith(".."):
                file = self.root.child(relative)
                return file if file.kind() in ("file", "outside") else None
        return None

    def _written(self, name: str, place: Place) -> Location | None:
        """The file of exactly this name, blanks, backslashes and all."""
        assert place.base is not None
        file = self._below(place.base, name + place.ending)
        return file if file and file.is_file() else None

    def _below(self, base: Location, name: str) -> Location | None:
        """What a relative path names from a folder; None where it leads out of the catalogue."""
        if base not in self._tops:
            top = base.relative_to(self.root)
            outside = top == ".." or top.startswith(".." + os.sep)
            self._tops[base] = (base, "") if outside else (self.root, top)
        root, top = self._tops[base]
        path = os.path.normpath(os.path.join(top, name))
        if path == ".." or path.startswith((".." + os.sep, os.sep)):
            return None
        return root.child(path)

    def _spelled(self, base: Location, path: str) -> Location | None:
        """The file of a path, its accents spelled in any way."""
        spellings = dict.fromkeys(
            (path, unicodedata.normalize("NFC", path), unicodedata.normalize("NFD", path))
        )
        files = (base.child(spelling) for spelling in spellings if path)
        return next((file for file in files if file.is_file()), None)

    def _loosely(self, name: str, place: Place, path: str) -> Location | Reason:
        """The one file that a name may mean when it is spelled loosely; else the missing file."""
        assert place.base is not None
        missing = place.base.child(path or shown(name))
        # A link that leads out is refused where it is opened.
        if self.options.spelling == "exact" or not path or missing.kind() is not None:
            return missing
        wanted = tuple(path.split(os.sep))
        top = place.base.relative_to(self.index.root)
        above = () if top in ("", ".") else tuple(top.split("/"))
        matches = [
            match
            for match in self.index.matches(wanted)
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

    def _anywhere(self, parts: Sequence[str]) -> Location | Reason:
        matches = self.index.matches(parts)
        if not matches:
            return Reason("no file of this name is in the catalogue")
        if len(matches) > 1:
            files = " and ".join(match.file.relative_to(self.root) for match in matches[:2])
            return Reason(f"a name that several files have: {files}")
        return matches[0].file

    # ---- the place of a column

    def _is_image(self, base: Location, name: str) -> bool:
        if is_address(name) or is_absolute(name) or len(name) > 1000 or "\0" in name:
            return False
        # A link that leads out is an image too; its rows say that it is refused.
        file = self._below(base, name) if suffix_of(name) in IMAGE_SUFFIXES else None
        return file is not None and file.kind() in ("file", "outside")

    def _searched(self, names: Sequence[str]) -> _Found:
        """The folder of the catalogue that explains the most names, some parts of them dropped."""
        votes: Counter[Place] = Counter()
        unique = 0
        for name in names:
            parts = parts_of(name)
            matches = self.index.matches(parts)
            unique += len(matches) == 1
            votes.update({place: 1 for match in matches for place in _places(parts, match)})
        if self._media:
            votes = Counter({place: n for place, n in votes.items() if place.base == self._media})
        anywhere = Place(None, is_searched=True)
        if not votes:
            return _Found(anywhere, 0 if self._media else unique, [])
        most = max(votes.values())
        best = [place for place, count in votes.items() if count == most]
        # The most of a name that is kept says the most: a/b/c.jpg is better than c.jpg.
        best.sort(
            key=lambda place: (
                self._is_small(place.base),
                place.drop > 0 or place.keep > 0,
                place.keep > 0,
                place.drop,
                str(place.base),
            )
        )
        if unique > most and not self._media:
            return _Found(anywhere, unique, [])
        bases = dict.fromkeys(place.base for place in best if place.base is not None)
        return _Found(best[0], most, [base for base in bases if base != best[0].base])

    def _rivals(self, found: _Found) -> list[Doubt]:
        """A doubt where other folders hold files of the same names."""
        # A folder above the other explains the same files.
        chosen = found.place.base
        names = [
            place.relative_to(self.root)
            for place in found.rivals
            if chosen and not _is_above(place, chosen) and not _is_above(chosen, place)
            if not self._is_small(place)
        ]
        if not names or chosen is None:
            return []
        fact = (
            f"The images are read from {chosen.relative_to(self.root)}, but files of the same "
            f"names lie in {', '.join(names[:5])} too."
        )
        example = f"--set prepare.images_root={names[0]}"
        return [Doubt(fact, f"Say which: {example}", stops=True)]

    def _is_small(self, folder: Location | None) -> bool:
        """Whether a folder's name says that it holds small copies."""
        path = folder.relative_to(self.root) if folder else ""
        return bool((SMALL | NO_PHOTO) & set(columns.words(path)))

    def _media_folder(self) -> Location | None:
        """The folder of `prepare.images_root`. Raises UsageError where it is none."""
        address = self.options.images_root
        if not address:
            return None
        below = self.root.child(address)
        folder = below if below.is_folder() else locate(address, self.options.follow_links)
        if not folder.is_folder():
            raise UsageError(
                f"prepare.images_root is '{address}', and there is no such folder.",
                "Name one below the catalogue, or a whole path.",
            )
        return folder


def _places(parts: Sequence[str], match: Match) -> set[Place]:
    """The places that make a name this file: all that is shared, or its last part only."""
    shared = max(match.exact, match.shared)
    ending = "" if suffix_of(parts[-1]) in IMAGE_SUFFIXES else match.file.suffix
    places = set()
    for kept in {shared, 1}:
        base = match.file
        for _ in range(kept):
            base = base.parent
        places.add(Place(base, len(parts) - kept, 0, ending, is_searched=True))
        places.add(Place(base, 0, kept, ending, is_searched=True))
    return places


def _is_above(one: Location, other: Location) -> bool:
    return not one.relative_to(other).replace("..", "").strip("./")
