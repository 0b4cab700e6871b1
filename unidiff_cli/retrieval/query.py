"""The words of a query as typed: which of them are a text, and which is an image."""

from __future__ import annotations

import logging
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path, PurePath

from unidiff_cli.data.sample import FOREIGN_SUFFIXES, IMAGE_SUFFIXES
from unidiff_cli.errors import UsageError

logger = logging.getLogger("unidiff")

# What begins only a path: /x, ./x, ../x, ~/x, C:\x.
PATH = re.compile(r"(\.{0,2}|~)[/\\]|[a-zA-Z]:[/\\]")
# Characters of a word that a message repeats.
BRIEF = 60


def split_query(
    words: Sequence[str], text: str | None = None, image: Path | None = None
) -> tuple[str | None, Path | None]:
    """The text and the image of a query, from a command's words and what was given by name.

    A word is the image where it names a file that is there, and a text otherwise. Where it may be
    meant otherwise, a note says how it is read. Raises UsageError for a word that can only be a
    file and is not there, for several images, and for nothing at all.
    """
    images = [word for word in words if os.path.isfile(word)]
    texts = [word for word in words if word not in images]
    for word in texts:
        _refuse_missing(word)
    for word in words:
        if reading := _doubtful(word, word in images):
            logger.info("%s", reading)
    given = [*map(Path, images), *([image] if image else [])]
    if len(given) > 1:
        raise UsageError(f"{len(given)} images were given.", "Give one, and a text if you like.")
    whole = " ".join([*texts, *([text] if text else [])])
    if not whole and not given:
        raise UsageError(
            "There is nothing to search for.",
            'Give an image or a text: unidiff retrieve "red dress"',
        )
    return whole or None, given[0] if given else None


def _refuse_missing(word: str) -> None:
    """Raises UsageError for the name of a file that is not there."""
    if _ends_like_an_image(word) or (PATH.match(word) and " " not in word):
        raise UsageError(
            f"There is no image {_brief(word)}.", f"If it is a text: --text {_quoted(word)}"
        )


def _doubtful(word: str, is_image: bool) -> str:
    """How a word is read that may be meant otherwise, and how to say so; "" for any other."""
    if is_image and not _ends_like_an_image(word):
        reading, other, option = "the image, since there is such a file", "text", "--text"
    elif not is_image and re.search(r"^\S*[/\\]\S*$", word):
        reading, other, option = "a text, since there is no such file", "file", "--image"
    else:
        return ""
    return f"'{_brief(word)}' is read as {reading}. If it is a {other}: {option} {_quoted(word)}"


def _ends_like_an_image(word: str) -> bool:
    return PurePath(word).suffix.lower() in IMAGE_SUFFIXES | FOREIGN_SUFFIXES


def _brief(word: str) -> str:
    return word if len(word) <= BRIEF else f"{word[: BRIEF - 1]}…"


def _quoted(word: str) -> str:
    """The word as a shell takes it; a long one is called TEXT."""
    return shlex.quote(word) if len(word) <= BRIEF else "TEXT"
