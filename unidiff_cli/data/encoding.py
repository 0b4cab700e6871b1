"""Which letters a text of a catalogue is written in, where it does not say so itself.

UTF-8 and Unicode marks are certain. Anything else is found by charset-normalizer, from as much text
as there is, and is a guess: prepare shows it and asks for it by name (`prepare.encoding`).
"""

from __future__ import annotations

import codecs
from typing import NamedTuple

# Bytes by which an encoding is found; more says no more.
ENOUGH = 1 << 18
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Encoding(NamedTuple):
    """An encoding by Python's name, and whether the bytes leave no doubt."""

    name: str
    is_certain: bool


def encoding_of(data: bytes, whole: bool = True) -> Encoding:
    """The encoding of a text, or of its beginning where it is not `whole`.

    What no encoding explains is taken for Windows-1252, which reads any byte.
    """
    for mark, name in MARKS:
        if data.startswith(mark):
            return Encoding(name, is_certain=True)
    if is_utf8(data, whole):
        return Encoding("utf-8", is_certain=True)
    # Imported here: most catalogues never need it.
    from charset_normalizer import from_bytes

    best = from_bytes(data[:ENOUGH]).best()
    return Encoding(best.encoding if best else "cp1252", is_certain=False)


def is_utf8(data: bytes, whole: bool = True) -> bool:
    """Whether bytes are UTF-8; a character may be cut at the end of what is not whole."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data, final=whole)
        return True
    except UnicodeDecodeError:
        return False
