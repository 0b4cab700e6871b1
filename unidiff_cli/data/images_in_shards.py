"""Where the images of finished shards are, by the sha256 of their bytes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from unidiff_cli.data.image_packs import NAME
from unidiff_cli.data.rows import column_of
from unidiff_cli.data.shards import Shards


class ImagesInShards:
    """Where the images of shards are, by the sha256 of their bytes."""

    def __init__(self, shards: Shards) -> None:
        import numpy as np

        self._folder, self._rows = shards.folder, shards.rows()
        contents = np.array(list(column_of(self._rows, "content")), f"S{NAME}")
        self._order = np.argsort(contents)
        self._contents = contents[self._order]

    def find(self, content: str) -> tuple[Path, int, int] | None:
        """File, offset and size in bytes of an image; None where it is not there."""
        import numpy as np

        wanted = np.bytes_(content[:NAME].encode())
        n = int(np.searchsorted(self._contents, wanted))
        if n == len(self._contents) or self._contents[n] != wanted:
            return None
        row = self._rows[int(self._order[n])]
        return self._folder / row.shard, row.image_offset, row.image_size

    def damaged(self, file: Path) -> list[str]:
        """The sha256 of those images of a shard whose bytes have another."""
        return [
            row.content
            for row in self._rows.where("shard", file.name)
            if hashlib.sha256(read_piece(file, row.image_offset, row.image_size)).hexdigest()
            != row.content
        ]


def read_piece(file: Path, offset: int, size: int) -> bytes:
    """A piece of a file; nothing where it is not there."""
    try:
        handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    try:
        return os.pread(handle, size, offset)
    finally:
        os.close(handle)
