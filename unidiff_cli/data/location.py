"""What a location is: a file or a folder of a catalogue, wherever its bytes lie, or in memory.

A catalogue in another place is one more `Location`. It must pass `tests/data/test_contracts.py`,
and `locate` in `locations.py` must know its addresses.
"""

from __future__ import annotations

import errno
import io
import os
from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Literal, NamedTuple

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

    def known_inside(self) -> Location:
        """The same, of which `stat` said that no link of it leads out: that is not asked again."""
        return self

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


def shown(name: str | os.PathLike[str]) -> str:
    """A path as text that UTF-8 can hold: bytes that are none are written \\xff."""
    text = os.fspath(name)
    try:
        return os.fsencode(text).decode("utf-8", "backslashreplace")
    # A lone surrogate, which a path of a table may hold and no file's name does.
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
