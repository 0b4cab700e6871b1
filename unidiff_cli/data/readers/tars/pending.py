"""Samples of a tar whose members lie far apart, as `tar cf a.tar *.jpg *.txt` writes them.

What a sample lacks when its key ends is waited for. Texts are held within a bound; an image is not:
it is read again, in a second pass, once its text is there.
"""

from __future__ import annotations

from collections.abc import Iterator

from unidiff_cli.data.readers.tars.keys import Parts, is_image

# Bytes of names, texts and images that are held, and what a key itself takes.
HELD, KEY = 1 << 28, 200


class Pending:
    """Parts of samples by their key, images without their data."""

    def __init__(self) -> None:
        self._parts: dict[str, Parts] = {}
        self._held = 0

    def __iter__(self) -> Iterator[tuple[str, Parts]]:
        return iter(list(self._parts.items()))

    def __contains__(self, key: str) -> bool:
        return key in self._parts

    def parts(self, key: str) -> Parts:
        """What is held of a key."""
        return self._parts.get(key, {})

    def hold(self, key: str, parts: Parts) -> bool:
        """Keeps the parts until more of their key come; False where there is no room."""
        held = {e: b"" if is_image(e) else data for e, data in parts.items()}
        size = KEY + len(key) + sum(map(len, held.values()))
        if not self.has_room(size):
            return False
        self._held += size
        self._parts[key] = held
        return True

    def add_image(self, key: str, ending: str, data: bytes) -> bool:
        """Adds an image that is read again; False where there is no room."""
        if not self.has_room(len(data)):
            return False
        self._held += len(data)
        self._parts[key][ending] = data
        return True

    def has_room(self, size: int) -> bool:
        return self._held + size <= HELD

    def take(self, key: str) -> Parts:
        """The parts of a key, which is forgotten."""
        parts = self._parts.pop(key, {})
        self._held -= sum(map(len, parts.values())) + (KEY + len(key) if parts else 0)
        return parts


def has_images(parts: Parts) -> bool:
    """Whether the data of all images is there."""
    return all(data for ending, data in parts.items() if is_image(ending))
