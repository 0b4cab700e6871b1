"""Members of a tar, read in order and never extracted.

Only plain files are read, each as far as the caller wants it. Links, devices and names that lead
elsewhere come with their problem. The headers are parsed here: tarfile, and webdataset with it, end
without a word at a damaged header, and before Python 3.11.14 tarfile loops on hostile ones
(CVE-2025-8194).
"""

from __future__ import annotations

import errno
import gzip
import io
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import IO, NamedTuple

from unidiff_cli.data.locations import Location, shown
from unidiff_cli.data.sample import unreadable

SUFFIXES = (".tar", ".tar.gz", ".tgz")
BLOCK = 512
MAX_NAME = 4096
# Bytes of a header that holds a long name.
MAX_HEADER = 1 << 20
# Bytes that any packed tar may grow to, however small it is.
GROWTH = 1 << 28
# Zeros in a row that a tar may be padded with.
PADDING = 1 << 24
# Bytes that are passed over at a time.
PIECE = 1 << 20
HEADERS = (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE)


class Member(NamedTuple):
    """One entry of a tar; `problem` says why it has no data."""

    name: str
    data: bytes
    problem: str = ""


def is_tar(file: Location) -> bool:
    return file.name.lower().endswith(SUFFIXES)


def members(tar: Location, wanted: Callable[[str], int], inflation: int) -> Iterator[Member]:
    """The files of a tar, in order; what is no plain file, or is damaged, with its problem.

    `wanted` says of a name how many bytes it may have; 0: it is not read. A packed tar may grow to
    `inflation` times its size.
    """
    try:
        with tar.open() as raw:
            size = tar.size
            if tar.name.lower().endswith("gz"):
                size = GROWTH + inflation * size
                stream = _Source(gzip.open(raw), size)  # type: ignore[arg-type]
            else:
                stream = _Source(raw, size, size if raw.seekable() else None)
            yield from _members(stream, wanted)
    except OSError as problem:
        yield Member("", b"", unreadable(problem, "the rest of the tar").text)
    except (EOFError, zlib.error) as problem:
        yield Member("", b"", f"the rest of the tar cannot be read: {problem}")


class _Source:
    """A stream that ends with an error where it has more than `most` bytes.

    With its `size` what is passed over need not be read.
    """

    def __init__(self, stream: IO[bytes], most: int, size: int | None = None) -> None:
        self._stream, self.most, self._size = stream, most, size
        self._taken = 0

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._taken += len(data)
        if self._taken > self.most:
            words = f"it grows to more than {self.most:,} bytes (prepare.limits.inflation)"
            raise OSError(errno.EFBIG, words)
        return data

    def pass_over(self, size: int) -> int:
        """Bytes that were passed over, fewer where it ends."""
        if self._size is not None:
            passed = max(0, min(size, self._size - self._taken))
            self._stream.seek(passed, io.SEEK_CUR)
            self._taken += passed
            return passed
        passed = 0
        while passed < size and (piece := self.read(min(size - passed, PIECE))):
            passed += len(piece)
        return passed


def _members(stream: _Source, wanted: Callable[[str], int]) -> Iterator[Member]:
    long_name, lost, zeros = "", False, 0
    while block := stream.read(BLOCK):
        if block.count(0) == BLOCK:
            zeros += BLOCK
            if zeros > PADDING:
                yield Member("", b"", f"{PADDING:,} zeros; nothing behind them is read")
                return
            continue
        zeros = 0
        info = _header(block, stream.most)
        if info is None:
            # Look for the next whole header, and say once that something was passed over.
            if not lost:
                problem = "a damaged or oversized tar header; members are missing here"
                yield Member(long_name, b"", problem)
            lost = True
            continue
        lost = False
        name = shown(long_name or info.name)
        most = MAX_HEADER if info.type in HEADERS else wanted(name)
        data = stream.read(info.size) if 0 < info.size <= most else b""
        passed = len(data) + stream.pass_over(info.size - len(data))
        stream.pass_over(-info.size % BLOCK)
        if passed < info.size:
            yield Member(name, b"", "the tar ends in the middle of this member")
        elif info.type == tarfile.GNUTYPE_LONGNAME:
            long_name = data[:MAX_NAME].split(b"\0")[0].decode("utf-8", "surrogateescape")
        elif info.type == tarfile.XHDTYPE:
            long_name = _pax_path(data)
        elif info.type not in (tarfile.XGLTYPE, tarfile.GNUTYPE_LONGLINK):
            long_name = ""
            if not info.isdir():
                yield _member(name, info, data, most)


def _header(block: bytes, most: int) -> tarfile.TarInfo | None:
    """The header in a block; None where it is damaged, or its member larger than the tar."""
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return None
    return info if len(block) == BLOCK and 0 <= info.size <= most else None


def _member(name: str, info: tarfile.TarInfo, data: bytes, most: int) -> Member:
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        return Member(name, b"", "a link, a device or a sparse file; only plain files are read")
    if name.startswith("/") or ".." in PurePosixPath(name).parts:
        return Member(name, b"", "a name that leads out of the tar")
    if most and info.size > most:
        return Member(name, b"", f"larger than {most:,} bytes (prepare.limits)")
    return Member(name, data)


def _pax_path(data: bytes) -> str:
    """The `path` of a PAX header, "" where it has none; its sizes are not believed."""
    for line in data.split(b"\n"):
        record = line.partition(b" ")[2]
        if record.startswith(b"path="):
            return record[5 : 5 + MAX_NAME].decode("utf-8", "surrogateescape")
    return ""
