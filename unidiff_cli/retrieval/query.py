"""A query as typed: which words are a text and which are an image, and the weight of a part."""

from __future__ import annotations

import io
import logging
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path, PurePath

from PIL import Image

from unidiff_cli.data.decode import decode_query
from unidiff_cli.data.locations import InMemory, locate
from unidiff_cli.data.sample import FOREIGN_SUFFIXES, IMAGE_SUFFIXES, Reason
from unidiff_cli.errors import UsageError
from unidiff_cli.retrieval.composition import Part

logger = logging.getLogger("unidiff")

# An image of a query: itself, its path or address, or the bytes of its file.
QueryImage = Image.Image | str | Path | bytes

# What begins only a path: /x, ./x, ../x, ~/x, C:\x.
PATH = re.compile(r"(\.{0,2}|~)[/\\]|[a-zA-Z]:[/\\]")
# Characters of a word that a message repeats.
BRIEF = 60
# A part's weight, as written: "in red^0.5".
_WEIGHT = re.compile(r"(.*?)\s*\^\s*(\d+(?:\.\d+)?)", re.S)


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
        raise UsageError(f"{len(given)} images were given.", "Give the others with --plus.")
    whole = " ".join([*texts, *([text] if text else [])])
    if not whole and not given:
        raise UsageError(
            "There is nothing to search for.",
            'Give an image or a text: unidiff retrieve "red dress"',
        )
    return whole or None, given[0] if given else None


def read_part(word: str) -> Part:
    """A part of a query: an image where the word names a file, else a text; "in red^0.5" weighs ½.

    Raises UsageError for a word that can only be a file and is not there, or is no image.
    """
    if os.path.isfile(word):
        return Part(open_query(word))
    content, weight = weighted(word)
    if os.path.isfile(content):
        return Part(open_query(content), weight)
    _refuse_missing(content)
    if not content.strip():
        raise UsageError(
            "A part of the query is empty.", 'Give a text or an image: --plus "in red"'
        )
    return Part(content, weight)


def parts_of(
    text: str | None,
    image: QueryImage | None,
    plus: Sequence[Part] = (),
    minus: Sequence[Part] = (),
) -> list[Part]:
    """The parts of a query, those of `minus` with weights below 0; a blank text is none.

    Raises UsageError for an image that cannot be read.
    """
    text = (text or "").strip()
    parts = [Part(text)] if text else []
    if image is not None:
        parts.append(Part(image if isinstance(image, Image.Image) else open_query(image)))
    return [*parts, *plus, *(Part(part.content, -part.weight) for part in minus)]


def weighted(word: str) -> tuple[str, float]:
    """A part's words and its weight: "in red^0.5" is ("in red", 0.5), and "in red" weighs 1."""
    found = _WEIGHT.fullmatch(word.strip())
    return (found[1], float(found[2])) if found else (word, 1.0)


def open_query(source: str | Path | bytes) -> Image.Image:
    """A query image, prepared as the catalogue's images are: rotated by EXIF, on white, sRGB.

    Raises UsageError for a file, or the bytes of one, that is no image.
    """
    location = InMemory("query", source) if isinstance(source, bytes) else locate(source)
    image = decode_query(location)
    if isinstance(image, Reason):
        name = "The query" if isinstance(source, bytes) else source
        raise UsageError(
            f"{name} cannot be read as an image: {image.text}.", "Give a JPEG, PNG or WebP file."
        )
    return Image.open(io.BytesIO(image.data)).convert("RGB")


def read_batch(file: Path) -> list[str]:
    """The queries of a file, one a line. Raises UsageError where it has none or is no text."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        reason = getattr(problem, "strerror", None) or "it is no UTF-8 text"
        raise UsageError(
            f"{file} cannot be read: {reason}.", "Name a text file with one query a line."
        ) from None
    queries = [line.strip() for line in lines if line.strip()]
    if not queries:
        raise UsageError(f"{file} holds no query.", "Write one query a line.")
    return queries


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
