"""Where the bytes of a catalogue lie: files and folders of this machine, memory, or an address.

`locate` gives the location that a person's word means. Those of other places are in `remote.py`.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from unidiff_cli import addresses
from unidiff_cli.data import plain_files
from unidiff_cli.data.location import OUTSIDE, Entry, InMemory, Kind, Location, Stat, shown
from unidiff_cli.errors import UsageError

__all__ = [
    "OUTSIDE",
    "Entry",
    "InMemory",
    "Kind",
    "LocalPath",
    "Location",
    "Stat",
    "locate",
    "shown",
]


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
        path, top = str(self.path), os.path.join(str(folder), "")
        # Nearly all lie below as they are written, and relpath takes both paths apart.
        if path.startswith(top) and "/.." not in path:
            return shown(path[len(top) :])
        return shown(os.path.relpath(path, top))

    def is_below(self, folder: Path) -> bool:
        return self.path.resolve().is_relative_to(folder.resolve())

    def known_inside(self) -> LocalPath:
        return LocalPath(self.path, self.within, is_inside=True)

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


def locate(address: str | os.PathLike[str], follow_links: bool = True) -> Location:
    """The location that a person's word means: a path, `~` understood, or an address.

    Without `follow_links` no link below it leads to another place than the folder itself, or than
    the folder that a file lies in. The path itself may be a link. Raises UsageError for an address
    of a kind that is not read, and EnvironmentProblem where its place cannot be reached.
    """
    scheme = addresses.scheme_of(address) if isinstance(address, str) else ""
    if scheme in addresses.LOCAL:
        address = _file_path(str(address))
    elif scheme:
        # Imported here: a path needs none of it.
        from unidiff_cli.data.remote import locate_remote

        return locate_remote(str(address))
    # The shell leaves `~name` as it is where there is no such user, and so does this.
    path = Path(os.path.expanduser(address)).absolute()
    if follow_links:
        return LocalPath(path)
    tops = (path,) if path.is_dir() else (path, path.parent)
    return LocalPath(path, tuple(os.path.realpath(top) for top in tops))


def _file_path(address: str) -> str:
    try:
        return addresses.file_path(address)
    except ValueError as problem:
        raise UsageError(f"{address} cannot be read: {problem}.", "Give a path.") from problem
