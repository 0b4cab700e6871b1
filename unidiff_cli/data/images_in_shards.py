"""Where the images of finished shards are, by the sha256 of their bytes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from unidiff_cli.data.image_packs import NAME
from unidiff_cli.data.index_file import INDEX
from unidiff_cli.data.shards import Shards

# The columns of the shards' index that say where an image is.
PLACE = ("shard", "image_offset", "image_size")


class ImagesInShards:
    """Where the images of shards are, by the sha256 of their bytes."""

    def __init__(self, shards: Shards) -> None:
        import numpy as np
        import pyarrow.parquet

        columns = ["content", *PLACE]
        self._folder = shards.folder
        try:
            self._table = pyarrow.parquet.read_table(shards.folder / INDEX, columns=columns)
        except (OSError, pyarrow.ArrowException):
            self._table = pyarrow.table({name: [] for name in columns})
        contents = np.array(self._table["content"].to_pylist(), f"S{NAME}")
        self._order = np.argsort(contents)
        self._contents = contents[self._order]

    def find(self, content: str) -> tuple[Path, int, int] | None:
        """File, offset and size in bytes of an image; None where it is not there."""
        import numpy as np

        wanted = np.bytes_(content[:NAME].encode())
        n = int(np.searchsorted(self._contents, wanted))
        if n == len(self._contents) or self._contents[n] != wanted:
            return None
        row = int(self._order[n])
        shard, offset, size = (self._table[name][row].as_py() for name in PLACE)
        return self._folder / shard, offset, size

    def damaged(self, file: Path) -> list[str]:
        """The sha256 of those images of a shard whose bytes have another."""
        import pyarrow.compute as pc

        rows = self._table.filter(pc.equal(self._table["shard"], file.name)).to_pylist()
        return [
            row["content"]
            for row in rows
            if hashlib.sha256(read_piece(file, row["image_offset"], row["image_size"])).hexdigest()
            != row["content"]
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
