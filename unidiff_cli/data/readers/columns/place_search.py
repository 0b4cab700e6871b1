"""Where the images of a table lie: as they are written, or in a folder that explains them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data import columns
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.locations import Location, locate
from unidiff_cli.data.readers.columns.image_cells import (
    NO_PHOTO,
    SMALL,
    is_absolute,
    is_address,
    parts_of,
    suffix_of,
)
from unidiff_cli.data.readers.columns.image_index import ImageIndex, Match
from unidiff_cli.data.sample import IMAGE_SUFFIXES
from unidiff_cli.errors import UsageError

# Where images may lie, from the table's folder, and what their names may lack.
FOLDERS = ("", "images", "image", "imgs", "img", "photos", "pictures")
ENDINGS = ("", ".jpg", ".jpeg", ".png", ".webp")
# Folders with files of the same names that may be one for each product.
SEVERAL = 2
# A place that holds fewer of the names does not explain a column.
EXPLAINED = 0.5


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


class PlaceSearch:
    """Finds the place of a column's images. `folder` is the table's, `root` the catalogue's."""

    def __init__(self, root: Location, folder: Location, options: Prepare) -> None:
        self.root, self.folder, self.options = root, folder, options
        self._media = self._media_folder()
        self.index = ImageIndex(self._media or root)
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
            matches = self.index.matches(parts, is_address(name))
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
        action = f"Say which: --set prepare.images_root={names[0]}"
        if len(names) >= SEVERAL:
            # A folder for each product: no one of them is right for all rows.
            action = (
                "Write whole paths in the table; or, if one folder is right for all rows, name it: "
                "--set prepare.images_root=FOLDER"
            )
        return [Doubt(fact, action, stops=True)]

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
