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


def write_split(
    folder: Path, split: str, samples: Iterable[tuple[Row, bytes]], size: int
) -> tuple[list[Row], dict[str, str]]:
    """Writes one split as shards of `size` samples.

    Returns the rows with their offsets, and each shard's sha256 by its name.
    """
    rows: list[Row] = []
    files: dict[str, str] = {}
    shard: _Shard | None = None
    for number, (row, image) in enumerate(samples):
        if shard is None or number % size == 0:
            files |= shard.close() if shard else {}
            shard = _Shard(folder / f"{split}-{number // size:05d}.tar")
        rows.append(shard.add(row, image))
    files |= shard.close() if shard else {}
    return rows, files


class _Shard:
    """One tar being written, hashed on the way."""

    def __init__(self, path: Path) -> None:
        self._stream, self._name = open(path, "xb"), path.name
        self._offset, self._sha = 0, hashlib.sha256()

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

    def close(self) -> dict[str, str]:
        with self._stream:
            self._put(bytes(2 * BLOCK))
        return {self._name: self._sha.hexdigest()}


def _suffix(image: bytes) -> str:
    if image.startswith(b"\x89PNG"):
        return "png"
    return "webp" if image[:4] == b"RIFF" and image[8:12] == b"WEBP" else "jpg"
