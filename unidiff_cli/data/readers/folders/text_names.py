"""Which image a text belongs to, by its name: a.txt, a.jpg.txt, a.txt.txt, a_caption.txt of a.jpg.

Names are compared as Unicode does: a Mac writes é as two characters, and others as one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import PurePosixPath

TAGS, JSON = ".tags", ".json"
# Likeliest first.
SUFFIXES = (".txt", ".caption", TAGS, JSON)
# What tools and people write behind or before the name of the image.
_WORDS = "captions? prompts? texts? txt tags? descriptions? desc title alt".replace(" ", "|")
_BEHIND = re.compile(rf"(.+)[-_. ](?:{_WORDS})", re.IGNORECASE)
_BEFORE = re.compile(rf"(?:{_WORDS})[-_. ](.+)", re.IGNORECASE)


def folded(name: str) -> str:
    """A name as names are compared: composed, in lower case."""
    return unicodedata.normalize("NFC", name).lower()


def owners(name: str) -> Iterator[str]:
    """The images' names, with or without ending, that a text's name may mean; its own first."""
    own = PurePosixPath(name).stem
    yield own
    # Windows hides the ending, so that it is written twice.
    if PurePosixPath(own).suffix.lower() in SUFFIXES:
        yield PurePosixPath(own).stem
    for pattern in (_BEHIND, _BEFORE):
        if match := pattern.fullmatch(own):
            yield match[1]
