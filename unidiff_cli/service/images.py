"""Images that a client sends, within limits, and those that the page can come back to."""

from __future__ import annotations

import hashlib
import io
import threading
from collections import OrderedDict

from PIL import Image

from unidiff_cli.retrieval.query import open_query

# The longest side of a thumbnail, in px, and of a query image that is kept.
SIDE, LARGEST = 320, 1024
QUALITY = 85


class Kept:
    """Bytes by name, the least used of which go when there are too many."""

    def __init__(self, most: int, count: int | None = None) -> None:
        """At most so many bytes and, with `count`, so many entries."""
        self._most, self._count, self._size = most, count, 0
        self._entries: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str) -> bytes | None:
        """The bytes of a name; None where they are not, or no longer, there."""
        with self._lock:
            if name in self._entries:
                self._entries.move_to_end(name)
            return self._entries.get(name)

    def put(self, name: str, data: bytes) -> None:
        """Keeps bytes under a name."""
        with self._lock:
            self._size -= len(self._entries.pop(name, b""))
            self._entries[name] = data
            self._size += len(data)
            while self._size > self._most or (self._count and len(self._entries) > self._count):
                self._size -= len(self._entries.popitem(last=False)[1])


def keep_query(kept: Kept, data: bytes) -> str:
    """Keeps a query image as the search sees it, for a page to name. Raises UsageError.

    What is kept is drawn anew, so nothing of the file that came is ever sent to a browser.
    """
    image = open_query(data)
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    drawn = encoded(image, 95)
    name = hashlib.sha256(drawn).hexdigest()[:20]
    kept.put(name, drawn)
    return name


def thumbnail(data: bytes) -> bytes:
    """A JPEG of at most SIDE px of an image's bytes, which are the catalogue's own."""
    image = Image.open(io.BytesIO(data))
    # A JPEG is decoded at half or a quarter of its size where that suffices.
    image.draft("RGB", (SIDE, SIDE))
    small = image.convert("RGB")
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return encoded(small, QUALITY)


def encoded(image: Image.Image, quality: int) -> bytes:
    """An image as a JPEG."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()
