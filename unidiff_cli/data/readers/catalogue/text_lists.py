"""Texts whose lines name images of the catalogue: captions or splits in a layout nobody knows."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from pathlib import PurePosixPath

from unidiff_cli.data.encoding import MARKS
from unidiff_cli.data.locations import Location
from unidiff_cli.data.readers.folders.contents import OTHERS
from unidiff_cli.data.sample import IMAGE_SUFFIXES

# Endings of texts among those that need not be opened to know that they are no images.
TEXTS = (".txt", ".caption")
# Files that are looked at, and bytes of each.
FILES, BEGINNING = 50, 1 << 16
# Lines that name images, by number and by share; more where only the names' beginnings are there.
LINES, SHARE, STEMS_SHARE = 3, 1 / 3, 0.8
_ENDINGS = "|".join(suffix[1:] for suffix in sorted(IMAGE_SUFFIXES, key=len, reverse=True))
# The endings of names are looked for first: a line may be long and have none.
_ENDING = re.compile(rf"\.(?:{_ENDINGS})(?![\w.])", re.IGNORECASE)
_DELIMITER = re.compile(r"[\\/\t,;|\"'<>]")
# Characters that the name of a file has at most.
_LONGEST = 255
_DIGEST = re.compile(r"\b[0-9a-f]{32,128}\b", re.IGNORECASE)
_WORD = re.compile(r"[^\s,;|]+")


def may_be_list(file: Location) -> bool:
    """Whether a file may be a text, by its ending."""
    return file.suffix in TEXTS or file.suffix not in OTHERS


def lists_of(files: Iterable[Location], names: Collection[str]) -> Iterator[Location]:
    """The texts whose lines name images, which have these names in lower case."""
    stems = {PurePosixPath(name).stem for name in names}
    others = (file for file in files if PurePosixPath(file.name.lower()).stem not in stems)
    for file in islice(others, FILES):
        if _names_images(_lines(file), names, stems):
            yield file


def _lines(file: Location) -> list[str]:
    """The first lines of a text; none of what is no text."""
    try:
        if file.kind() != "file":
            return []
        with file.open() as stream:
            data = stream.read(BEGINNING)
    except (OSError, ValueError):
        return []
    mark = next((name for mark, name in MARKS if data.startswith(mark)), None)
    if b"\0" in data and mark is None:
        return []
    lines = data.decode(mark or "utf-8", "replace").lower().splitlines()
    # The last one may be cut.
    lines = lines[:-1] if len(data) == BEGINNING else lines
    return [line for line in lines if line.strip()]


def _names_images(lines: list[str], names: Collection[str], stems: Collection[str]) -> bool:
    # A list of checksums says nothing of what images show.
    named = sum(_names_one(line, names) and not _DIGEST.search(line) for line in lines)
    if named >= max(LINES, SHARE * len(lines)):
        return True
    # dress/1 names 1.jpg of the folder dress.
    words = [word[0].rsplit("/")[-1] for line in lines if (word := _WORD.search(line))]
    begins = {word for word in words if word in stems}
    return len(begins) >= LINES and sum(w in begins for w in words) >= STEMS_SHARE * len(words)


def _names_one(line: str, names: Collection[str]) -> bool:
    """Whether a line has the name of an image, which may have blanks in it."""
    return any(name in names or name.split()[-1] in names for name in _names_in(line))


def _names_in(line: str) -> Iterator[str]:
    """What ends as an image does, from what delimits it, or from the one before, on."""
    last = 0
    for ending in _ENDING.finditer(line):
        before = line[max(last, ending.start() - _LONGEST) : ending.start()]
        if stem := _DELIMITER.split(before)[-1]:
            last = ending.end()
            yield f"{stem}{ending[0]}".strip()
