"""Where the bytes of a catalogue lie: files and folders of this machine, or memory.

A catalogue in another place (a bucket, a web address) is one more `Location`. It must pass
`tests/data/test_contracts.py`, and `locate` must know its addresses.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Literal, NamedTuple

from unidiff_cli.data import plain_files

# "other" is what may not be opened: a pipe, a device, a socket, a file of the kernel. "outside" is
# what a link names that leads out of the catalogue.
Kind = Literal["file", "folder", "other", "outside"]
OUTSIDE = "a link that leads out of the catalogue; --follow-links allows it"


# Of a file that is read whole where nothing else is said.
MOST_BYTES = 1 << 29


class Stat(NamedTuple):
    """What is known of a place without opening it."""

    kind: Kind
    # Bytes.
    size: int
    # Changes when the contents do.
    version: str
    # Equal for two addresses of one folder, so that links which lead back up end.
    identity: Hashable = None


class Entry(NamedTuple):
    """One file or folder that lies directly in a folder; a link is what it names."""

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
    def version(self) -> str:
        """A text that changes when the contents do. Raises as `stat` does."""
        return self.stat().version

    @property
    def held(self) -> int:
        """Bytes of the contents that are in memory already."""
        return 0

    def exists(self) -> bool:
        return self.kind() is not None

    def is_file(self) -> bool:
        return self.kind() == "file"

    def is_folder(self) -> bool:
        return self.kind() == "folder"

    def kind(self) -> Kind | None:
        """As `stat` says it; None where nothing is there."""
        try:
            return self.stat().kind
        except (OSError, ValueError):
            return None

    def sibling(self, name: str) -> Location:
        """The location of another name in the same folder."""
        return self.parent.child(name)

    def files(self) -> list[Location]:
        """The visible files that lie directly in a folder; none where it is no folder.

        Links that lead out of the catalogue are among them: opening one says so.
        """
        entries = self.entries() if self.is_folder() else []
        visible = (entry.location for entry in entries if not entry.is_folder)
        kinds = ("file", "outside")
        return [file for file in visible if not file.name.startswith(".") and file.kind() in kinds]

    def read(self, most: int = MOST_BYTES) -> bytes:
        """All bytes of a file. Raises OSError, also where there are more than `most`."""
        with self.open() as stream:
            data = stream.read(most + 1)
        if len(data) > most:
            raise OSError(errno.EFBIG, f"larger than {most:,} bytes", str(self))
        return data


@dataclass(frozen=True)
class LocalPath(Location):
    """A file or a folder of this machine.

    `within` are the resolved paths that links may lead to, and all below them; None: anywhere.
    `is_inside` says that it is known to lie there.
    """

    path: Path
    within: tuple[str, ...] | None = field(default=None, compare=False, repr=False)
    is_inside: bool = field(default=False, compare=False, repr=False)

    def __str__(self) -> str:
        return str(self.path)

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def parent(self) -> LocalPath:
        return LocalPath(self.path.parent, self.within)

    def stat(self) -> Stat:
        status = os.stat(self.path)
        kind: Kind = "other"
        if self._is_outside():
            kind = "outside"
        elif plain_files.is_plain(status):
            kind = "file"
        elif stat.S_ISDIR(status.st_mode) and not plain_files.is_kernels(status):
            kind = "folder"
        # A file that replaces another may bring its time along, but not the time of the change.
        version = f"{status.st_mtime_ns:x}-{status.st_ctime_ns:x}"
        return Stat(kind, status.st_size, version, (status.st_dev, status.st_ino))

    def open(self) -> IO[bytes]:
        if self._is_outside():
            raise OSError(errno.EACCES, OUTSIDE, str(self))
        return plain_files.open_plain(self.path)

    def entries(self) -> list[Entry]:
        if self._is_outside():
            raise OSError(errno.EACCES, OUTSIDE, str(self))
        with os.scandir(self.path) as entries:
            ordered = sorted(entries, key=lambda entry: os.fsencode(entry.name))
        return [
            Entry(
                LocalPath(self.path / entry.name, self.within, not entry.is_symlink()),
                _is_folder(entry),
            )
            for entry in ordered
        ]

    def child(self, path: str) -> LocalPath:
        return LocalPath(self.path / path, self.within)

    def relative_to(self, folder: Location) -> str:
        return shown(os.path.relpath(self.path, str(folder)))

    def is_below(self, folder: Path) -> bool:
        return self.path.resolve().is_relative_to(folder.resolve())

    def _is_outside(self) -> bool:
        if self.within is None or self.is_inside:
            return False
        real = os.path.realpath(self.path)
        return not any(real == top or real.startswith(os.path.join(top, "")) for top in self.within)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    # A link that leads to itself.
    except OSError:
        return False


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
        return Stat("file", len(self.data), "")

    @property
    def held(self) -> int:
        return len(self.data)

    def open(self) -> IO[bytes]:
        return io.BytesIO(self.data)

    def entries(self) -> list[Entry]:
        raise NotADirectoryError(f"{self.label} is no folder")

    def child(self, path: str) -> Location:
        raise NotADirectoryError(f"{self.label} is no folder")

    def relative_to(self, folder: Location) -> str:
        return ""


def locate(address: str | os.PathLike[str], follow_links: bool = True) -> Location:
    """The location that a person's word means: a path, `~` understood.

    Without `follow_links` no link below it leads to another place than the folder itself, or than
    the folder that a file lies in. The address may be a link.
    """
    # The shell leaves `~name` as it is where there is no such user, and so does this.
    path = Path(os.path.expanduser(address)).absolute()
    if follow_links:
        return LocalPath(path)
    tops = (path,) if path.is_dir() else (path, path.parent)
    return LocalPath(path, tuple(os.path.realpath(top) for top in tops))


def shown(name: str | os.PathLike[str]) -> str:
    """A path as text that UTF-8 can hold: bytes that are none are written \\xff."""
    text = os.fspath(name)
    try:
        return os.fsencode(text).decode("utf-8", "backslashreplace")
    # A lone surrogate, which a path of a table may hold and no file's name does.
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
