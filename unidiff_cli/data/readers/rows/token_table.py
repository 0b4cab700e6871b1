"""Captions as Flickr8k and Flickr30k have them: `name.jpg#0`, a tab and a caption on each line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import PurePosixPath

from unidiff_cli.config.schema import Prepare
from unidiff_cli.data.locations import Location
from unidiff_cli.data.readers.rows import text_stream
from unidiff_cli.data.readers.rows.cells import Record
from unidiff_cli.data.sample import IMAGE_SUFFIXES, Reason

# An image, the number of its caption, and the caption.
_LINE = re.compile(r"\ufeff?\s*([^\t]+?)\s*#\s*\d+\s*\t\s*(.*?)\s*")
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
        match = _LINE.fullmatch(text) if text else None
        if match and match[1] == image:
            captions.append(match[2])
            continue
        if image:
            yield first, {"image": image, "caption": captions}
        if match:
            first, image, captions = number, match[1], [match[2]]
        else:
            image = ""
            yield number, Reason("not a name, # with a number, a tab and a caption")
    if image:
        yield first, {"image": image, "caption": captions}


def _image_of(text: str) -> str | None:
    """The image that a line names; None where it is no such line."""
    match = _LINE.fullmatch(text)
    is_image = match and PurePosixPath(match[1]).suffix.lower() in IMAGE_SUFFIXES
    return match[1] if match and is_image else None
