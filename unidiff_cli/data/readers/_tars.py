"""Members of a tar, read in order and never extracted.

Only plain files are read, each at most MAX_MEMBER large. Links, devices and names that lead
elsewhere come with their problem. The headers are parsed here: tarfile, and webdataset with it, end
without a word at a damaged header, and before Python 3.11.14 tarfile loops on hostile ones
(CVE-2025-8194).
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO, NamedTuple

from unidiff_cli.data.locations import Location, shown

SUFFIXES = (".tar", ".tar.gz", ".tgz")
BLOCK = 512
MAX_MEMBER = 256 << 20
MAX_NAME = 4096


class Member(NamedTuple):
    """One entry of a tar; `problem` says why it has no data."""

    name: str
    data: bytes
    problem: str = ""


def is_tar(file: Location) -> bool:
    return file.name.lower().endswith(SUFFIXES)


def members(tar: Location) -> Iterator[Member]:
    """The files of a tar, in order; what is no plain file, or is damaged, with its problem."""
    with tar.open() as raw:
        packed = tar.name.lower().endswith("gz")
        stream: IO[bytes] = gzip.open(raw) if packed else raw  # type: ignore[assignment]
        try:
            yield from _members(stream)
        except (OSError, EOFError, zlib.error) as problem:
            yield Member("", b"", f"the tar cannot be read on: {problem}")


def _members(stream: IO[bytes]) -> Iterator[Member]:
    long_name, lost = "", False
    while block := stream.read(BLOCK):
        if block.count(0) == BLOCK:
            continue
        info = _header(block)
        if info is None:
            # Look for the next whole header, and say once that something was passed over.
            if not lost:
                problem = "a damaged or oversized tar header; members are missing here"
                yield Member(long_name, b"", problem)
            lost = True
            continue
        lost = False
        data = stream.read(info.size) if info.size else b""
        stream.read(-info.size % BLOCK)
        name = long_name or info.name
        if len(data) < info.size:
            yield Member(shown(name), b"", "the tar ends in the middle of this member")
        elif info.type == tarfile.GNUTYPE_LONGNAME:
            long_name = data[:MAX_NAME].split(b"\0")[0].decode("utf-8", "surrogateescape")
        elif info.type == tarfile.XHDTYPE:
            long_name = _pax_path(data)
        elif info.type not in (tarfile.XGLTYPE, tarfile.GNUTYPE_LONGLINK):
            long_name = ""
            if not info.isdir():
                yield _member(shown(name), info, data)


def _header(block: bytes) -> tarfile.TarInfo | None:
    """The header in a block; None where it is damaged or its member too large."""
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return None
    return info if len(block) == BLOCK and 0 <= info.size <= MAX_MEMBER else None


def _member(name: str, info: tarfile.TarInfo, data: bytes) -> Member:
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        return Member(name, b"", "a link, a device or a sparse file; only plain files are read")
    if name.startswith("/") or ".." in PurePosixPath(name).parts:
        return Member(name, b"", "a name that leads out of the tar")
    return Member(name, data)


def _pax_path(data: bytes) -> str:
    """The `path` of a PAX header, "" where it has none; its sizes are not believed."""
    for line in data.split(b"\n"):
        record = line.partition(b" ")[2]
        if record.startswith(b"path="):
            return record[5 : 5 + MAX_NAME].decode("utf-8", "surrogateescape")
    return ""
