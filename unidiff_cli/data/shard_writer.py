"""Writes shards: USTAR tars whose bytes depend on their samples only (no times, no users).

Headers are written here: `import webdataset` imports torch (2 s), and its writer adds 1 KiB of
header to each member and holds all of them in memory.
"""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Iterable
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import Any

from unidiff_cli.data.shards import BLOCK, Row

# Bytes that are written at a time.
BUFFER = 1 << 20
# The fields of a row that are known before it lies in a shard.
_KNOWN = [
    field.name
    for field in fields(Row)
    if field.name != "shard" and not field.name.startswith(("image_", "json_"))
]
_known = attrgetter(*_KNOWN)
# Bytes of a name in a header, and the size that its 11 octal digits do not hold.
_NAME, _LARGE = 100, 8**11


def shard_name(split: str, number: int) -> str:
    """The file of a split's shard, as webdataset's `train-{00000..00041}.tar` expands."""
    return f"{split}-{number:05d}.tar"


def write_shard(
    file: Path, name: str, samples: Iterable[tuple[Row, bytes]]
) -> tuple[list[Row], str]:
    """Writes samples as one tar; `name` is what the index will call it.

    Returns the rows with their offsets, and the sha256 of the tar in hex.
    """
    with _Shard(file, name) as shard:
        rows = [shard.add(row, image) for row, image in samples]
    return rows, shard.sha256


class _Shard:
    """One tar being written, hashed on the way."""

    def __init__(self, file: Path, name: str) -> None:
        self._stream, self._name = open(file, "xb", BUFFER), name
        self._offset, self._sha = 0, hashlib.sha256()

    def __enter__(self) -> _Shard:
        return self

    def __exit__(self, problem: object, *_: object) -> None:
        with self._stream:
            if problem is None:
                self._put(bytes(2 * BLOCK))

    @property
    def sha256(self) -> str:
        return self._sha.hexdigest()

    def add(self, row: Row, image: bytes) -> Row:
        text = row.json()
        image_offset = self._offset + BLOCK
        json_offset = image_offset + len(image) + -len(image) % BLOCK + BLOCK
        self._put(header(f"{row.key}.{_suffix(image)}", len(image)))
        self._put(image)
        # Hashed and written together: each call costs more than so few bytes do.
        between = bytes(-len(image) % BLOCK)
        text_header = header(f"{row.key}.json", len(text))
        self._put(b"".join((between, text_header, text, bytes(-len(text) % BLOCK))))
        known: dict[str, Any] = dict(zip(_KNOWN, _known(row), strict=True))
        return Row(
            **known,
            shard=self._name,
            image_offset=image_offset,
            image_size=len(image),
            image_crc=zlib.crc32(image),
            json_offset=json_offset,
            json_size=len(text),
            json_crc=zlib.crc32(text),
        )

    def _put(self, data: bytes) -> None:
        self._stream.write(data)
        self._sha.update(data)
        self._offset += len(data)


def _tarfiles(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info.tobuf(tarfile.USTAR_FORMAT)


# tarfile's header of no name and no size, and the sum of its bytes, where blanks stand for the
# checksum and the size is left out.
_EMPTY = _tarfiles("", 0)
_BEFORE_SIZE, _AFTER_SIZE, _AFTER_SUM = _EMPTY[_NAME:124], _EMPTY[135:148], _EMPTY[156:]
_SUM = sum(_BEFORE_SIZE) + sum(_AFTER_SIZE) + 8 * ord(" ") + sum(_AFTER_SUM)


def header(name: str, size: int) -> bytes:
    """The USTAR header of a member, byte for byte tarfile's; that takes 36 microseconds for each.

    Raises ValueError where a header cannot hold the name or the size.
    """
    encoded = name.encode("utf-8", "surrogateescape")
    if len(encoded) > _NAME or size >= _LARGE:
        return _tarfiles(name, size)
    digits = b"%011o" % size
    checksum = b"%06o\0 " % (_SUM + sum(encoded) + sum(digits))
    padded = encoded.ljust(_NAME, b"\0")
    return b"".join((padded, _BEFORE_SIZE, digits, _AFTER_SIZE, checksum, _AFTER_SUM))


def _suffix(image: bytes) -> str:
    if image.startswith(b"\x89PNG"):
        return "png"
    return "webp" if image[:4] == b"RIFF" and image[8:12] == b"WEBP" else "jpg"
