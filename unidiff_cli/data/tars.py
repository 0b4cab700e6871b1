"""Where the bytes of shards lie: in files of this machine, or at a project's storage."""

from __future__ import annotations

import mmap
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidiff_cli.errors import Damaged

if TYPE_CHECKING:
    from unidiff_cli.project.receipt import FileRecord
    from unidiff_cli.project.storage import Storage

# Files that stay open; a catalogue of more shards opens and closes the others.
MAX_OPEN = 256


class Tars(ABC):
    """The tars of finished shards. Threads and forked processes may share them."""

    @abstractmethod
    def place(self, shard: str) -> str:
        """Where a shard lies, in words."""

    @abstractmethod
    def read(self, shard: str, offset: int, size: int) -> bytes:
        """A piece of a shard, shorter where that ends. Raises OSError, Damaged and others."""

    @abstractmethod
    def whole(self, shard: str) -> bytes | mmap.mmap:
        """All bytes of a shard. Raises as `read`."""

    @abstractmethod
    def close(self) -> None:
        """Lets go of what is open."""


class LocalTars(Tars):
    """The tars of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, int] = {}

    def place(self, shard: str) -> str:
        return str(self.folder / shard)

    def read(self, shard: str, offset: int, size: int) -> bytes:
        """One pread: no shared position and no lock, so threads and forks may read alike."""
        descriptor = self._files.get(shard)
        if descriptor is None:
            descriptor = os.open(self.folder / shard, os.O_RDONLY | os.O_CLOEXEC)
            if len(self._files) >= MAX_OPEN:
                try:
                    return os.pread(descriptor, size, offset)
                finally:
                    os.close(descriptor)
            first = self._files.setdefault(shard, descriptor)
            # Another thread may have been faster.
            if first != descriptor:
                os.close(descriptor)
            descriptor = first
        return os.pread(descriptor, size, offset)

    def whole(self, shard: str) -> bytes | mmap.mmap:
        """Mapped: they need not be in memory."""
        with open(self.folder / shard, "rb") as stream:
            # An empty file cannot be mapped.
            is_filled = stream.seek(0, 2) > 0
            if not is_filled:
                return b""
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)

    def close(self) -> None:
        while self._files:
            os.close(self._files.popitem()[1])

    def __del__(self) -> None:
        if hasattr(self, "_files"):
            self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _files={})


class StoredTars(Tars):
    """The tars of a stored folder of shards: one request reads a piece."""

    def __init__(self, storage: Storage, name: str, files: Mapping[str, FileRecord]) -> None:
        self._storage, self._name, self._files = storage, name, files

    def place(self, shard: str) -> str:
        return self._storage.file_address(self._name, shard, self._record(shard))

    def read(self, shard: str, offset: int, size: int) -> bytes:
        return self._storage.read(self._name, shard, self._record(shard), offset, size)

    def whole(self, shard: str) -> bytes:
        return self.read(shard, 0, self._record(shard).size)

    def close(self) -> None:
        """Nothing stays open between two requests."""

    def _record(self, shard: str) -> FileRecord:
        if shard not in self._files:
            where = self._storage.address_of(self._name)
            raise Damaged(f"The receipt of {where} names no {shard}.")
        return self._files[shard]
