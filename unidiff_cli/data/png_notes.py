"""PNG files without the texts in them, which editors fill with megabytes that are no image.

Pillow unpacks each text and refuses an image whose texts are large. Its limits guard against texts
that unpack to gigabytes, so they stay; what is not unpacked needs none.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
# Texts that say which way is up, and how large they are at most, packed and unpacked.
_TURNED = (b"Raw profile type exif", b"Raw profile type APP1", b"XML:com.adobe.xmp")
MOST_PACKED, MOST_UNPACKED = 1 << 16, 1 << 19


def without_notes(data: bytes) -> bytes:
    """The same image without its texts, except small ones that say its orientation.

    What is no PNG, or has no text, is given back as it is.
    """
    if not data.startswith(SIGNATURE):
        return data
    pieces, start = [], 0
    for kind, begin, end in _chunks(data):
        if kind in _TEXTS and not _says_orientation(data[begin + 8 : end - 4]):
            pieces.append(data[start:begin])
            start = end
    return b"".join((*pieces, data[start:])) if pieces else data


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(kind, first byte, byte after the last) of each whole chunk up to the image's end."""
    begin = len(SIGNATURE)
    while begin + 12 <= len(data):
        end = begin + 12 + int.from_bytes(data[begin : begin + 4], "big")
        kind = data[begin + 4 : begin + 8]
        if end > len(data) or kind == b"IEND":
            return
        yield kind, begin, end
        begin = end


def _says_orientation(text: bytes) -> bool:
    """Whether a text may hold EXIF or XMP, and is small once unpacked."""
    keyword, _, rest = text[: MOST_PACKED + 1].partition(b"\0")
    if keyword not in _TURNED or len(text) > MOST_PACKED:
        return False
    # zTXt: one byte before the packed text. iTXt: a flag, a method, two words that end in 0.
    packed = rest[1:]
    if keyword.startswith(b"XML"):
        packed = rest[2:].split(b"\0", 2)[-1] if rest[:1] == b"\1" else b""
    unpacker = zlib.decompressobj()
    try:
        unpacker.decompress(packed, MOST_UNPACKED)
    except zlib.error:
        return True
    return not unpacker.unconsumed_tail
