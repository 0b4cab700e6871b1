"""Captions that stand in the names of image files, as EveryDream reads them: they are asked for.

`red cotton dress with belt_001.jpg` says more than the class of its folder.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.locations import Location, shown
from unidiff_cli.data.prompts import load_prompts

# Words of a phrase, images that are looked at at least, and the share that has phrases of its own.
WORDS, IMAGES, SHARE = 3, 5, 0.5
# Words of cameras and programs: their names are none of what an image shows.
_CAMERAS = frozenset(
    "img dsc dscf dscn pxl mvimg image photo picture pic screenshot screen shot whatsapp signal "
    "telegram facebook copy kopie final edited untitled scan at from pm am jpg jpeg png".split()
)
_WORD = re.compile(r"[^\W\d_]+")
# A script without blanks has no words to count: its letters are.
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]")
_LETTERS = 6


def doubts(images: Iterable[Location]) -> Iterator[Doubt]:
    """A doubt where most images have a phrase as their name; `images` have classes as captions."""
    names = {image: _phrase(PurePosixPath(image.name).stem) for image in images}
    phrases = Counter(phrase for phrase in names.values() if phrase)
    if len(names) < IMAGES or len(phrases) < SHARE * len(names):
        return
    first = next(image for image, phrase in names.items() if phrase)
    yield Doubt(
        f"{phrases.total():,} of {len(names):,} images have a phrase as their file name, such as "
        f"{shown(first.name)}; it is not read, and the caption is that of the folder.",
        "To read it, write each name into a .txt beside its image, or into a table; to leave it: "
        f"--set 'prepare.caption={load_prompts().class_caption}'.",
        stops=True,
    )


def _phrase(stem: str) -> str | None:
    """The words of a file's name without its numbers; None where they are too few for a phrase."""
    words = [word.lower() for word in _WORD.findall(stem)]
    if sum(len(word) for word in words if _UNSPACED.search(word)) >= _LETTERS:
        return " ".join(words)
    words = [word for word in words if word not in _CAMERAS]
    long = {word for word in words if len(word) > 2}
    return " ".join(words) if len(words) >= WORDS and len(long) >= WORDS - 1 else None
