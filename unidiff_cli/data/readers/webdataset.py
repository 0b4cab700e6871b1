"""WebDataset tars written by others: streamed, never extracted.

A sample is the members that share a name up to its first dot: an image, `.txt` or `.caption`, `.json`. Only
plain files are read, in order, each at most MAX_MEMBER large. Links, devices, names that lead elsewhere and
pickles are never opened; nothing of a tar decides what is written or run, so there is no `pipe:` and no
`WDS_SECURE` to forget. The headers are parsed here: Python before 3.11.14 loops on hostile ones (CVE-2025-8194),
and tarfile ends without a word at a damaged header (limits.md D2).
"""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from unidiff_cli.data import captions
from unidiff_cli.data.columns import ROLES
from unidiff_cli.data.readers import Reader, _tables, shown
from unidiff_cli.data.sample import IMAGE_SUFFIXES, Extent, Rejected, Sample

BLOCK = 512
MAX_MEMBER = 256 << 20
MAX_NAME = 4096
TEXTS = (".txt", ".caption", ".text")
PICKLES = (".pkl", ".pickle", ".pyd", ".pth", ".pt", ".pyc", ".npy", ".npz")


class Member(NamedTuple):
    """One entry of a tar; `problem` says why it has no data."""

    name: str
    data: bytes
    problem: str = ""


class Webdataset(Reader):
    """The samples of one tar, or of all tars in a folder in the order of their names."""

    @classmethod
    def accepts(cls, path: Path) -> bool:
        return bool(_tars(path))

    def describe(self) -> str:
        tars = _tars(self.path)
        return "\n".join(
            [
                f"WebDataset: {len(tars)} tar{'s' if len(tars) != 1 else ''}, {tars[0].name} first",
                *self.peek(),
            ]
        )

    def __iter__(self) -> Iterator[Sample | Rejected]:
        self._fresh()
        for tar in _tars(self.path):
            key = ""
            parts: dict[str, bytes] = {}
            for member in members(tar):
                place = f"{shown(tar.name)}:{member.name}"
                if member.problem:
                    yield Rejected(place, member.problem)
                    continue
                name = PurePosixPath(member.name)
                stem, _, field = name.name.partition(".")
                found = str(name.with_name(stem)) if stem else str(name)
                if found != key:
                    yield from self._sample(tar, key, parts)
                    key, parts = found, {}
                parts[f".{field.lower()}"] = member.data
            yield from self._sample(tar, key, parts)

    def extent(self) -> Extent:
        digest, total = hashlib.sha256(), 0
        for tar in _tars(self.path):
            state = tar.stat()
            digest.update(
                f"{tar.name}\0{state.st_size}\0{state.st_mtime_ns}\0".encode(
                    "utf-8", "backslashreplace"
                )
            )
            total += state.st_size
        return Extent(digest.hexdigest()[:16], None, total)

    def _sample(self, tar: Path, key: str, parts: dict[str, bytes]) -> Iterator[Sample | Rejected]:
        if not parts:
            return
        row = f"{shown(tar.name)}:{key}"
        for suffix in parts:
            if _ending(suffix) in PICKLES:
                self.notes["members that hold pickles or arrays, not opened"] += 1
        image = next(
            (data for suffix, data in parts.items() if _ending(suffix) in IMAGE_SUFFIXES), None
        )
        try:
            cells = _cells(parts)
        except ValueError as problem:
            yield Rejected(row, f"its .json is not JSON: {problem}")
            return
        ours = cells.get("unidiff") if isinstance(cells.get("attributes"), dict) else None
        columns = (
            cells["attributes"] if ours else {k: v for k, v in cells.items() if k != "caption"}
        )
        if not self._wanted(columns):
            return
        found, reason = self._found(parts, cells)
        if image is None or not found:
            yield Rejected(row, reason if image else "no image among its members")
            return
        own = {role: self._role(role, cells) for role in ("id", "product", "split")}
        yield Sample(
            row, image, found, columns, own["id"], own["product"], self._split(own["split"] or "")
        )

    def _found(self, parts: dict[str, bytes], cells: _tables.Cells) -> tuple[tuple[str, ...], str]:
        """The captions, or why there are none."""
        try:
            return self._captions(
                self._written(parts, cells)
            ), "no caption: neither a .txt nor a caption in its .json"
        except KeyError as empty:
            return (), f"no caption: '{empty.args[0]}' is empty"

    def _written(self, parts: dict[str, bytes], cells: _tables.Cells) -> list[str]:
        if self.options.caption:
            return [captions.fill(self.options.caption, cells)]
        mapped = self.options.columns.caption
        texts = [
            data.decode("utf-8", "replace")
            for suffix, data in parts.items()
            if _ending(suffix) in TEXTS
        ]
        if texts and not mapped:
            return [line for text in texts for line in text.splitlines()]
        names = [mapped] if mapped else ROLES["caption"].split()
        return next((list(captions.several(cells[name])) for name in names if cells.get(name)), [])

    def _role(self, role: str, cells: _tables.Cells) -> str | None:
        """An id, product or split: mapped, ours (`unidiff` of a shard), or by the column's usual name."""
        ours = cells.get("unidiff")
        if isinstance(ours, dict):
            return captions.words(ours.get("group" if role == "product" else role)) or None
        mapped = getattr(self.options.columns, role)
        names = ROLES[role].split() if mapped is None else [mapped]
        return next((word for name in names if (word := captions.words(cells.get(name)))), None)


def _cells(parts: dict[str, bytes]) -> _tables.Cells:
    cells: Any = {}
    for suffix, data in parts.items():
        if _ending(suffix) == ".json":
            cells = _tables.parse(data.decode("utf-8"))
            if not isinstance(cells, dict):
                raise ValueError(f"a JSON {type(cells).__name__}, not an object")
    return cells


def _ending(suffix: str) -> str:
    return "." + suffix.rsplit(".", 1)[-1]


def _tars(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.name.lower().endswith((".tar", ".tar.gz", ".tgz")) else []
    if not path.is_dir():
        return []
    return sorted(
        p
        for p in path.iterdir()
        if p.is_file() and p.name.lower().endswith((".tar", ".tar.gz", ".tgz"))
    )


# ---------------------------------------------------------------- the tar format, read only


def members(tar: Path) -> Iterator[Member]:
    """The plain files of a tar, in order; what is no plain file, or is damaged, comes with its problem."""
    with open(tar, "rb") as raw, _plain(raw, tar) as stream:
        try:
            yield from _members(stream)
        except (OSError, EOFError, zlib.error) as problem:
            yield Member("", b"", f"the tar cannot be read on: {problem}")


def _plain(raw: IO[bytes], tar: Path) -> IO[bytes]:
    return gzip.open(raw) if tar.name.lower().endswith("gz") else raw  # type: ignore[return-value]


def _members(stream: IO[bytes]) -> Iterator[Member]:
    long_name, lost = "", False
    while block := stream.read(BLOCK):
        if block.count(0) == BLOCK:
            continue
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            whole = len(block) == BLOCK and 0 <= info.size <= MAX_MEMBER
        except tarfile.HeaderError:
            whole = False
        if not whole:
            if (
                not lost
            ):  # look for the next header that is whole, and say once that something was skipped
                yield Member(
                    long_name, b"", "a damaged or oversized tar header; members are missing here"
                )
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


def _member(name: str, info: tarfile.TarInfo, data: bytes) -> Member:
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        return Member(name, b"", "a link, a device or a sparse file; only plain files are read")
    if name.startswith("/") or ".." in PurePosixPath(name).parts:
        return Member(name, b"", "a name that leads out of the tar")
    return Member(name, data)


def _pax_path(data: bytes) -> str:
    """The `path` of a PAX header, '' where it has none; its sizes are not believed."""
    for line in data.split(b"\n"):
        record = line.partition(b" ")[2]
        if record.startswith(b"path="):
            return record[5 : 5 + MAX_NAME].decode("utf-8", "surrogateescape")
    return ""
