"""The files of a zip, read where they are: nothing is unpacked to disk.

`zipfile` reads the list of members, and each member as far as its own entry says. Names that lead
out, links and members packed in a rare way are no files here.
"""

from __future__ import annotations

import errno
import io
import os
import posixpath
import stat
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

from unidiff_cli.data.locations import Entry, Location, Stat, shown

# Members of one zip, and bytes of their list and of the file as a whole.
MEMBERS = 1_000_000
# Ways of packing that need little memory.
PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED = 1
# The bit that says that a name is UTF-8.
UTF8 = 0x800


def is_zip(file: Location) -> bool:
    return file.name.lower().endswith(".zip")


@dataclass(frozen=True)
class InZip(Location):
    """A file or a folder in a zip; `path` is "" for the whole of it."""

    archive: Location
    path: str = ""

    def __str__(self) -> str:
        return f"{self.archive}/{self.path}" if self.path else str(self.archive)

    @property
    def name(self) -> str:
        return posixpath.basename(self.path) or self.archive.name

    @property
    def parent(self) -> Location:
        if not self.path:
            return self.archive.parent
        return InZip(self.archive, posixpath.dirname(self.path))

    def stat(self) -> Stat:
        content = self._content()
        if info := content.files.get(self.path):
            return Stat("file", info.file_size, f"{info.CRC:x}-{info.file_size:x}")
        if self.path and self.path not in content.folders:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        return Stat("folder", 0, "", self._identity())

    def open(self) -> IO[bytes]:
        content = self._content()
        info = content.files.get(self.path)
        if info is None:
            code = errno.EISDIR if self.path in content.folders else errno.ENOENT
            raise OSError(code, os.strerror(code), str(self))
        if info.flag_bits & ENCRYPTED:
            raise OSError(errno.EACCES, "locked with a password", str(self))
        if info.compress_type not in PACKED:
            raise OSError(errno.EINVAL, "packed in a way that is not read", str(self))
        try:
            return io.BufferedReader(_Member(content.open(info)))
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as problem:
            raise OSError(errno.EIO, str(problem), str(self)) from problem

    def entries(self) -> list[Entry]:
        content = self._content()
        if self.path and self.path not in content.folders:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(self))
        names = sorted(content.folders.get(self.path, ()), key=os.fsencode)
        children = [self.child(name) for name in names]
        return [Entry(child, child.path in content.folders) for child in children]

    def child(self, path: str) -> InZip:
        joined = posixpath.normpath(posixpath.join(self.path, path))
        return InZip(self.archive, "" if joined == "." else joined)

    def relative_to(self, folder: Location) -> str:
        if isinstance(folder, InZip) and folder.archive == self.archive:
            return shown(posixpath.relpath(self.path or ".", folder.path or "."))
        return posixpath.join(self.archive.relative_to(folder), shown(self.path))

    def is_below(self, folder: Path) -> bool:
        return self.archive.is_below(folder)

    def _identity(self) -> Hashable:
        return str(self.archive), self.path

    def _content(self) -> _Content:
        """The members of the archive. Raises OSError where there are none."""
        return _content(self.archive, self.archive.version, os.getpid())


class _Content:
    """The members of one zip, opened once in each process."""

    def __init__(self, archive: Location) -> None:
        try:
            self._zip = zipfile.ZipFile(archive.open())
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as problem:
            raise OSError(errno.EIO, f"not readable as a zip: {problem}", str(archive)) from problem
        infos = self._zip.infolist()
        if len(infos) > MEMBERS:
            raise OSError(errno.EFBIG, f"more than {MEMBERS:,} members", str(archive))
        self.files: dict[str, zipfile.ZipInfo] = {}
        self.folders: dict[str, set[str]] = defaultdict(set)
        for info in infos:
            self._add(info)

    def open(self, info: zipfile.ZipInfo) -> IO[bytes]:
        return self._zip.open(info)

    def _add(self, info: zipfile.ZipInfo) -> None:
        name = _name(info).replace("\\", "/")
        path = posixpath.normpath(name)
        kind = stat.S_IFMT(info.external_attr >> 16)
        is_plain = kind in (0, stat.S_IFREG, stat.S_IFDIR)
        if not name or name.startswith("/") or path.split("/")[0] == ".." or not is_plain:
            return
        is_folder = name.endswith("/")
        if not is_folder:
            self.files.setdefault(path, info)
        elif path != ".":
            self.folders.setdefault(path, set())
        while path not in ("", "."):
            folder, _, last = path.rpartition("/")
            if last in self.folders[folder]:
                break
            self.folders[folder].add(last)
            path = folder


@lru_cache(maxsize=8)
def _content(archive: Location, version: str, process: int) -> _Content:
    # The version and the process are there to be compared.
    return _Content(archive)


def _name(info: zipfile.ZipInfo) -> str:
    """A member's name; macOS writes UTF-8 and does not say so."""
    if info.flag_bits & UTF8:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


class _Member(io.RawIOBase):
    """A member that is read; what is wrong with it is an OSError."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._stream.seekable()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int = -1) -> bytes:
        try:
            return self._stream.read(size)
        except (zipfile.BadZipFile, zlib.error, EOFError) as problem:
            raise OSError(errno.EIO, f"damaged in its zip: {problem}") from problem

    def close(self) -> None:
        self._stream.close()
        super().close()
