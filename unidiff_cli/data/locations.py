"""Where the bytes of a catalogue lie: files and folders of this machine, or memory.

A catalogue in another place (a bucket, a web address) is one more `Location`. It must pass
`tests/data/test_contracts.py`, and `locate` must know its addresses.
"""

from __future__ import annotations

import io
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Literal, NamedTuple


class Stat(NamedTuple):
    """What is known of a place without opening it."""

    # "other" is what may not be opened: a pipe, a device, a socket.
    kind: Literal["file", "folder", "other"]
    # Bytes.
    size: int
    # Changes when the contents do.
    version: int
    # Equal for two addresses of one folder, so that links which lead back up end.
    identity: Hashable = None


class Entry(NamedTuple):
    """One file or folder that lies directly in a folder."""

    location: Location
    is_folder: bool


class Location(ABC):
    """A file or a folder that is read and never written.

    Equal addresses are equal and hash alike. A location pickles: worker processes open it. `str`
    gives its whole address.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """The last part of the address, spelled as the place itself spells it."""

    @property
    @abstractmethod
    def parent(self) -> Location:
        """The folder that it lies in."""

    @abstractmethod
    def stat(self) -> Stat:
        """Kind, size and version. Raises OSError (FileNotFoundError) or ValueError."""

    @abstractmethod
    def open(self) -> IO[bytes]:
        """The bytes of a file, from the start, to be closed by the caller. Raises OSError."""

    @abstractmethod
    def entries(self) -> list[Entry]:
        """What lies directly in a folder, in a fixed order. Raises OSError."""

    @abstractmethod
    def child(self, path: str) -> Location:
        """What a relative path names from here, parts separated by slashes."""

    @abstractmethod
    def relative_to(self, folder: Location) -> str:
        """The path from a folder to here, as text that UTF-8 can hold; "" where there is none."""

    def is_below(self, folder: Path) -> bool:
        """Whether it is a folder of this machine or lies in it, links followed."""
        return False

    @property
    def suffix(self) -> str:
        """The ending of the name in lower case, with its dot; "" without one."""
        return PurePosixPath(self.name).suffix.lower()

    @property
    def size(self) -> int:
        """Bytes. Raises as `stat` does."""
        return self.stat().size

    @property
    def version(self) -> int:
        """A number that changes when the contents do. Raises as `stat` does."""
        return self.stat().version

    def exists(self) -> bool:
        return self._kind() is not None

    def is_file(self) -> bool:
        return self._kind() == "file"

    def is_folder(self) -> bool:
        return self._kind() == "folder"

    def sibling(self, name: str) -> Location:
        """The location of another name in the same folder."""
        return self.parent.child(name)

    def files(self) -> list[Location]:
        """The visible files that lie directly in a folder; none where it is no folder."""
        entries = self.entries() if self.is_folder() else []
        visible = (entry.location for entry in entries if not entry.is_folder)
        return [file for file in visible if not file.name.startswith(".") and file.is_file()]

    def read(self) -> bytes:
        """All bytes of a file. Raises OSError."""
        with self.open() as stream:
            return stream.read()

    def _kind(self) -> str | None:
        try:
            return self.stat().kind
        except (OSError, ValueError):
            return None


@dataclass(frozen=True)
class LocalPath(Location):
    """A file or a folder of this machine."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def parent(self) -> LocalPath:
        return LocalPath(self.path.parent)

    def stat(self) -> Stat:
        status = os.stat(self.path)
        kind: Literal["file", "folder", "other"] = "other"
        if stat.S_ISREG(status.st_mode):
            kind = "file"
        elif stat.S_ISDIR(status.st_mode):
            kind = "folder"
        return Stat(kind, status.st_size, status.st_mtime_ns, (status.st_dev, status.st_ino))

    def open(self) -> IO[bytes]:
        return open(self.path, "rb")

    def entries(self) -> list[Entry]:
        with os.scandir(self.path) as entries:
            ordered = sorted(entries, key=lambda entry: os.fsencode(entry.name))
        return [Entry(LocalPath(Path(entry.path)), entry.is_dir()) for entry in ordered]

    def child(self, path: str) -> LocalPath:
        return LocalPath(self.path / path)

    def relative_to(self, folder: Location) -> str:
        return shown(os.path.relpath(self.path, str(folder)))

    def is_below(self, folder: Path) -> bool:
        return self.path.resolve().is_relative_to(folder.resolve())


@dataclass(frozen=True)
class InMemory(Location):
    """A file that came whole out of another one: a member of a tar, a cell of a table."""

    label: str
    data: bytes = field(repr=False)

    def __str__(self) -> str:
        return self.label

    @property
    def name(self) -> str:
        return PurePosixPath(self.label).name

    @property
    def parent(self) -> Location:
        raise NotADirectoryError(f"{self.label} lies in no folder")

    def stat(self) -> Stat:
        return Stat("file", len(self.data), 0)

    def open(self) -> IO[bytes]:
        return io.BytesIO(self.data)

    def entries(self) -> list[Entry]:
        raise NotADirectoryError(f"{self.label} is no folder")

    def child(self, path: str) -> Location:
        raise NotADirectoryError(f"{self.label} is no folder")

    def relative_to(self, folder: Location) -> str:
        return ""


def locate(address: str | os.PathLike[str]) -> Location:
    """The location that a person's word means: a path, `~` understood."""
    return LocalPath(Path(address).expanduser().absolute())


def shown(name: str | os.PathLike[str]) -> str:
    """A path as text that UTF-8 can hold: bytes that are none are written \\xff."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
