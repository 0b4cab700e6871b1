"""Prepared images that are kept from one prepare to the next, so that none is decoded twice.

An image is found again by its source: address, size and version of the file, or the bytes of one
that came out of another file, and what the recipe makes of it. A pack of images is two files:
`NAME.bin`, their bytes one after another, and `NAME.arrow`, written last, a row for each. Packs are
only added, whole, so a kill costs no more than the images of one, and several processes may add
some at a time. Once images lie in shards their bytes are read from there, and the packs let go of
them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from unidiff_cli.data.image_packs import (
    FACTS,
    IMAGES,
    KEY_BYTES,
    OpenPack,
    image_of,
    join,
    read_packs,
    sorted_keys,
)
from unidiff_cli.data.images import PreparedImage
from unidiff_cli.data.images_in_shards import ImagesInShards, read_piece
from unidiff_cli.data.location import Location
from unidiff_cli.data.shards import Shards
from unidiff_cli.errors import Damaged
from unidiff_cli.project.files import delete_unfinished_files, make_folder, write_text

# Images and bytes of a pack, which is what a kill loses at most.
PACK_IMAGES, PACK_BYTES = 512, 64 << 20
# Packs of fewer images that there may be before they are joined.
SMALL_PACKS = 64
# Changes when an image is prepared otherwise than before: a part of every source's key.
VERSION = 1
# Images whose bytes in the shards were found damaged, by the sha256 that they should have.
DAMAGED = "damaged.txt"
AGAIN = "Run it again: the image is decoded anew."


class Place(NamedTuple):
    """Where an image's bytes lie: a file by its number, and `size` bytes from `offset`."""

    file: int
    offset: int
    size: int


class Lost(Damaged):
    """Bytes that were kept are not there any more, and are forgotten now: decode them anew."""


class KeptImages:
    """The images of a folder of the cache, and those of the shards that were prepared last.

    Use it with `with`: what was added is whole on disk at its end, also after an error.
    """

    def __init__(self, folder: Path, options: str, earlier: Shards | None = None) -> None:
        """`options` are those of the recipe that decide what becomes of an image."""
        self.folder, self._options = folder, options
        make_folder(folder)
        self._files: list[Path] = []
        self._earlier = ImagesInShards(earlier) if earlier else None
        self._shards: dict[str, int] = {}
        self._packs = read_packs(folder)
        self._numbers = [self._number(self._images(pack.name)) for pack in self._packs]
        self._keys, self._pack, self._row = sorted_keys(self._packs)
        damaged = folder / DAMAGED
        self.damaged = frozenset(damaged.read_text().split() if damaged.is_file() else ())
        self._open: OpenPack | None = None

    def __enter__(self) -> KeptImages:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        # A disk that is full was said already.
        with suppress(*((OSError,) if kind else ())):
            self.flush()

    def key(self, source: Location) -> bytes | None:
        """What names a source and what is made of it; None where nothing tells a change of it."""
        try:
            size, version = source.size, source.version
            name = str(source) if version else ""
            if not version:
                if not source.held:
                    return None
                version = hashlib.sha256(source.read(size)).hexdigest()
        except (OSError, ValueError):
            return None
        text = "\0".join((name, str(size), version, self._options, str(VERSION)))
        return hashlib.sha256(text.encode("utf-8", "backslashreplace")).digest()[:KEY_BYTES]

    def find(self, key: bytes | None) -> tuple[PreparedImage, Place] | None:
        """The image of a key without its bytes, and where these lie; None where it is not here."""
        import numpy as np

        if key is None or not len(self._keys):
            return None
        # As an array has it: without zeros at its end.
        wanted = np.array([key], self._keys.dtype)[0]
        n = int(np.searchsorted(self._keys, wanted))
        if n == len(self._keys) or self._keys[n] != wanted:
            return None
        pack, row = int(self._pack[n]), int(self._row[n])
        facts = {name: column[row].as_py() for name, column in self._packs[pack].columns.items()}
        place = self._place(pack, facts)
        return (image_of(facts), place) if place else None

    def put(self, key: bytes | None, image: PreparedImage) -> Place:
        """Adds an image and returns where its bytes lie. Raises OSError on a full disk."""
        if self._open is None:
            self._open = OpenPack(self.folder)
            self._files.append(self._open.file)
        place = Place(len(self._files) - 1, *self._open.put(key, image))
        if len(self._open.rows) >= PACK_IMAGES or self._open.size >= PACK_BYTES:
            self.flush()
        return place

    def flush(self) -> None:
        """Closes the pack that is being filled."""
        if self._open:
            opened, self._open = self._open, None
            self._files[self._files.index(opened.file)] = opened.close()

    def read(self, place: Place, content: str) -> bytes:
        """The bytes of an image, whose sha256 is `content`.

        Raises Lost where they are not those that were written.
        """
        file = self._files[place.file]
        if self._open and self._open.file == file:
            self._open.stream.flush()
        data = read_piece(file, place.offset, place.size)
        if hashlib.sha256(data).hexdigest() != content:
            self._forget(file, content)
            raise Lost(f"{file} is not what was written.", AGAIN)
        return data

    def tidy(self) -> None:
        """Deletes what killed writers left. No other process may add images meanwhile."""
        delete_unfinished_files(self.folder)
        whole = {pack.name for pack in self._packs}
        for ending in (FACTS, IMAGES):
            for file in self.folder.glob(f"*{ending}"):
                if file.stem not in whole:
                    file.unlink(missing_ok=True)

    def release(self) -> None:
        """Lets go of the bytes of all images, which lie in shards now, and joins small packs."""
        self.flush()
        for file in self.folder.glob(f"*{IMAGES}"):
            file.unlink(missing_ok=True)
        (self.folder / DAMAGED).unlink(missing_ok=True)
        delete_unfinished_files(self.folder)
        small = [pack for pack in read_packs(self.folder) if pack.count < PACK_IMAGES // 2]
        if len(small) > SMALL_PACKS:
            join(self.folder, small)

    def clear(self) -> None:
        """Forgets every image."""
        for ending in (FACTS, IMAGES):
            for file in self.folder.glob(f"*{ending}"):
                file.unlink(missing_ok=True)
        self._packs, self._keys = [], self._keys[:0]

    def mark_damaged(self, contents: Iterable[str]) -> None:
        """Images that are to be decoded anew although they lie in shards, by their sha256."""
        self.damaged |= frozenset(contents)
        write_text(self.folder / DAMAGED, "\n".join(sorted(self.damaged)))

    def _forget(self, file: Path, content: str) -> None:
        """Forgets what a damaged file holds: a whole pack, or an image of a shard."""
        if file.parent == self.folder:
            file.with_suffix(FACTS).unlink(missing_ok=True)
            file.unlink(missing_ok=True)
        elif self._earlier:
            self.mark_damaged([content, *self._earlier.damaged(file)])

    def _images(self, name: str) -> Path:
        return self.folder / f"{name}{IMAGES}"

    def _number(self, file: Path) -> int:
        self._files.append(file)
        return len(self._files) - 1

    def _place(self, pack: int, facts: dict[str, Any]) -> Place | None:
        """Where an image is: in its pack, else in the shards; None where it is in neither."""
        number = self._numbers[pack]
        if self._packs[pack].has_images(self._files[number]):
            return Place(number, facts["offset"], facts["size"])
        content = facts["content"].hex()
        found = self._earlier.find(content) if self._earlier else None
        if found is None or content in self.damaged:
            return None
        file, offset, size = found
        if str(file) not in self._shards:
            self._shards[str(file)] = self._number(file)
        return Place(self._shards[str(file)], offset, size)
