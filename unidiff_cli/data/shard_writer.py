"""Writes shards: USTAR tars whose bytes depend on their samples only (no times, no users).

Headers are written here: `import webdataset` imports torch (2 s), and its writer adds 1 KiB of
header to each member and holds all of them in memory.
"""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from unidiff_cli.data.shards import BLOCK, Row


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
        self._stream, self._name = open(file, "xb"), name
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
        image_offset = self._member(f"{row.key}.{_suffix(image)}", image)
        json_offset = self._member(f"{row.key}.json", text)
        return replace(
            row,
            shard=self._name,
            image_offset=image_offset,
            image_size=len(image),
            image_crc=zlib.crc32(image),
            json_offset=json_offset,
            json_size=len(text),
            json_crc=zlib.crc32(text),
        )

    def _member(self, name: str, data: bytes) -> int:
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(data), 0o644
        self._put(info.tobuf(tarfile.USTAR_FORMAT))
        offset = self._offset
        self._put(data)
        self._put(bytes(-len(data) % BLOCK))
        return offset

    def _put(self, data: bytes) -> None:
        self._stream.write(data)
        self._sha.update(data)
        self._offset += len(data)


def _suffix(image: bytes) -> str:
    if image.startswith(b"\x89PNG"):
        return "png"
    return "webp" if image[:4] == b"RIFF" and image[8:12] == b"WEBP" else "jpg"
