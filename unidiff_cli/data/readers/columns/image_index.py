"""All images of a catalogue by their names, spelled loosely: for tables that name them otherwise.

Case, accents, percent codes, leading zeros of a number and the ending may differ.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import islice
from pathlib import PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote

from unidiff_cli.data.locations import Location
from unidiff_cli.data.sample import FOREIGN_SUFFIXES, IMAGE_SUFFIXES, Rejected
from unidiff_cli.data.walk import walk

# Files that are looked at; a larger catalogue needs prepare.images_root.
MOST_FILES = 2_000_000
_NUMBER = re.compile(r"0+(?=\d)")


class Match(NamedTuple):
    """A file that a name may mean: how many of its last parts they share, and how many exactly."""

    file: Location
    parts: tuple[str, ...]
    shared: int
    exact: int


class ImageIndex:
    """The images below a folder; they are listed when they are first asked for."""

    def __init__(self, root: Location) -> None:
        self.root = root

    def matches(self, parts: Sequence[str], is_address: bool = False) -> list[Match]:
        """The files whose names are, loosely, the last of these parts; the most alike ones.

        Spreadsheets take leading zeros from numbers, addresses do not: 7.jpg of a website and
        img2dataset's 000000007.jpg are two images.
        """
        if not parts:
            return []
        matches = []
        for file, folders in self._files.get(_stem_key(parts[-1]), ()):
            if is_address and _stem(parts[-1]) != _stem(file.name):
                continue
            names = (*folders, file.name)
            shared = 1 + _common(parts[:-1], folders, loosely)
            exact = _exact(parts, names)
            matches.append(Match(file, names, shared, exact))
        most = max((match.exact for match in matches), default=0)
        return [match for match in matches if match.exact == most]

    @cached_property
    def _files(self) -> dict[str, list[tuple[Location, tuple[str, ...]]]]:
        files: dict[str, list[tuple[Location, tuple[str, ...]]]] = {}
        for item in islice(walk(self.root, Counter()), MOST_FILES):
            if not isinstance(item, Rejected) and item.suffix in IMAGE_SUFFIXES | FOREIGN_SUFFIXES:
                path = PurePosixPath(item.relative_to(self.root))
                files.setdefault(_stem_key(item.name), []).append((item, path.parts[:-1]))
        return files


def loosely(name: str) -> str:
    """What names that differ in case, accents or percent codes have in common."""
    return unicodedata.normalize("NFKC", unquote(name)).casefold().strip()


def _stem_key(name: str) -> str:
    """The loose name of a file without its ending; a number without its leading zeros."""
    stem = _stem(name)
    return _NUMBER.sub("", stem, count=1) if stem.isdecimal() else stem


def _stem(name: str) -> str:
    path = PurePosixPath(loosely(name))
    return path.stem if path.suffix in IMAGE_SUFFIXES | FOREIGN_SUFFIXES else path.name


def _exact(parts: Sequence[str], names: Sequence[str]) -> int:
    """How many last parts are equal; the last one may lack the ending."""
    last, file = _composed(parts[-1]), _composed(names[-1])
    if last != file and last != PurePosixPath(file).stem:
        return 0
    return 1 + _common(parts[:-1], names[:-1], _composed)


def _composed(name: str) -> str:
    """A name with its accents written in one way, as Macs and others do not."""
    return unicodedata.normalize("NFC", name)


def _common(one: Sequence[str], other: Sequence[str], key: Callable[[str], str]) -> int:
    """How many parts two paths have in common at their ends."""
    count = 0
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if key(a) != key(b):
            break
        count += 1
    return count
