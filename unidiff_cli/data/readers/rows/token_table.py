"""Captions as Flickr8k and Flickr30k have them: `name.jpg#0`, a tab and a caption on each line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import PurePosixPath

from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data.locations import Location
from unidiff_cli.data.readers.rows import text_stream
from unidiff_cli.data.readers.rows.cells import Record
from unidiff_cli.data.sample import IMAGE_SUFFIXES, Reason

# Lines by which such a file is recognised, and the share of them that are such lines.
LINES, SHARE = 20, 0.8


def is_tokens(file: Location, options: Prepare) -> bool:
    """Whether the lines of a file are `name.jpg#0`, a tab and a caption. Raises OSError."""
    lines = [text for _, text in islice(text_stream.lines(file, options), LINES) if text]
    count = sum(_image_of(text) is not None for text in lines)
    return count > 0 and count >= SHARE * sum(bool(text.strip()) for text in lines)


def token_rows(file: Location, options: Prepare, notes: Counter[str]) -> Iterator[Record]:
    """One row an image, with the captions of the lines that follow each other."""
    letters = text_stream.letters_of(file, options)
    first, image, captions = 0, "", list[str]()
    for number, text in text_stream.lines(file, options):
        if text is not None and not text_stream.well_read(text):
            text = text_stream.mend(text, letters)
        if text is not None and not text.strip():
            continue
        parts = _parts_of(text or "")
        if parts and parts[0] == image:
            captions.append(parts[1])
            continue
        if image:
            yield first, {"image": image, "caption": captions}
        if parts:
            first, image, captions = number, parts[0], [parts[1]]
        else:
            image = ""
            yield number, Reason("not a name, # with a number, a tab and a caption")
    if image:
        yield first, {"image": image, "caption": captions}


def _image_of(text: str) -> str | None:
    """The image that a line names; None where it is no such line."""
    parts = _parts_of(text)
    is_image = parts and PurePosixPath(parts[0]).suffix.lower() in IMAGE_SUFFIXES
    return parts[0] if parts and is_image else None


def _parts_of(text: str) -> tuple[str, str] | None:
    """The image and the caption of a line; None where it is no such line.

    No pattern: it is asked of the first lines of every text, and one may be of megabytes.
    """
    head, tab, caption = text.removeprefix("\ufeff").lstrip().partition("\t")
    image, _, number = head.rpartition("#")
    image, number = image.strip(), number.strip()
    return (image, caption.strip()) if tab and image and number.isdecimal() else None
