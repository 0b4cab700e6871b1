"""WebDataset tars written by others: read in order, never extracted, never unpickled.

A sample is the members that share a key: the name up to its first dot, as webdataset has it
(`test_keys_are_those_of_webdataset`). Its image, `.txt` or `.caption` and `.json` are read; nothing
of a tar decides what is run. webdataset itself is not called here, since importing it imports
torch: see docs/decisions/2026-11-26-webdataset-where-it-is-safe.md.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from unidiff_cli.data import captions
from unidiff_cli.data.columns import ROLES
from unidiff_cli.data.locations import InMemory, Location, shown
from unidiff_cli.data.readers import Reader, _tars
from unidiff_cli.data.readers._cells import Cells, bounded, parse, plain
from unidiff_cli.data.sample import IMAGE_SUFFIXES, Cause, Extent, Reason, Rejected, Sample

TEXTS = (".txt", ".caption", ".text")
PICKLES = (".pkl", ".pickle", ".pyd", ".pth", ".pt", ".pyc", ".npy", ".npz")
# Notes for a person.
UNOPENED = "members that hold pickles or arrays, not opened"
KEYLESS = "members whose names give no key (no ending, or a dot first), left out"
FURTHER = "further images of a sample, such as 0.mask.png beside 0.png, left out"
_KEY = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)", re.DOTALL)
AMBIGUOUS = Reason("a further image of its key, which ends at the first dot of the name")
# Names with which webdataset marks what is no sample.
_META = re.compile(r"__[^/]*__($|/)")

# Members of one sample.
MEMBERS = 100

# Endings, in lower case and with their dot -> data, of one key.
Parts = dict[str, bytes]


class Webdataset(Reader):
    """The samples of one tar, or of all tars in a folder in the order of their names."""

    @classmethod
    def accepts(cls, location: Location) -> bool:
        return bool(_tars_of(location))

    def describe(self) -> list[str]:
        tars = _tars_of(self.location)
        number = f"{len(tars)} tar{'s' if len(tars) != 1 else ''}"
        return [f"WebDataset: {number}, {tars[0].name} first", *self.peek()]

    def __iter__(self) -> Iterator[Sample | Rejected]:
        self._begin_pass()
        limits = self.options.limits
        for tar in _tars_of(self.location):
            key, parts, held = "", Parts(), 0
            for member in _tars.members(tar, self._wanted, limits.inflation):
                row = f"{shown(tar.name)}:{member.name}"
                if member.problem:
                    yield Rejected(row, Reason(member.problem))
                    continue
                names = split_name(member.name)
                if names is None:
                    self.notes[KEYLESS] += 1
                    continue
                if names[0] != key:
                    yield from self._samples(tar, key, parts)
                    key, parts, held = names[0], Parts(), 0
                ending = f".{names[1].lower()}"
                held += len(member.data)
                if ending in parts:
                    yield Rejected(row, Reason("a second member of this name in its sample"))
                elif len(parts) == MEMBERS or held > limits.image_bytes + limits.text_bytes:
                    yield Rejected(row, Reason("its sample has too many members, or too large"))
                else:
                    parts[ending] = member.data
            yield from self._samples(tar, key, parts)

    def extent(self) -> Extent:
        digest, total = hashlib.sha256(), 0
        for tar in _tars_of(self.location):
            stat = tar.stat()
            state = f"{tar.name}\0{stat.size}\0{stat.version}\0"
            digest.update(state.encode("utf-8", "backslashreplace"))
            total += stat.size
        return Extent(digest.hexdigest()[:16], None, total)

    def _wanted(self, name: str) -> int:
        """The bytes that a member may have; 0 for what is not read."""
        names, limits = split_name(name), self.options.limits
        ending = _last(f".{names[1].lower()}") if names else ""
        if ending in IMAGE_SUFFIXES:
            return limits.image_bytes
        return limits.text_bytes if ending in (*TEXTS, ".json") else 0

    def _samples(self, tar: Location, key: str, parts: Parts) -> Iterator[Sample | Rejected]:
        """What the members of one key give: a sample, or why there is none, or nothing."""
        if not parts:
            return
        row = f"{shown(tar.name)}:{PurePosixPath(key)}"
        self.notes.update(UNOPENED for ending in parts if _last(ending) in PICKLES)
        try:
            cells = bounded(_cells(parts), self.options.limits)
        except ValueError as problem:
            cells = Reason(f"its .json is not JSON: {problem}", Cause.NOT_JSON)
        if isinstance(cells, Reason):
            yield Rejected(row, cells)
            return
        is_ours = cells.get("unidiff") and isinstance(cells.get("attributes"), dict)
        columns = {k: v for k, v in cells.items() if k != "caption"}
        columns = cells["attributes"] if is_ours else columns
        if not self._keeps(columns):
            return
        images = [ending for ending in parts if _last(ending) in IMAGE_SUFFIXES]
        # 0.jpg is the image of 0, whatever 0.mask.png shows.
        own = [ending for ending in images if ending == _last(ending)]
        image, further = next(iter(own or images), None), images[1:]
        if own and further:
            self.notes[FURTHER] += len(further)
        else:
            yield from (Rejected(f"{row}{ending}", AMBIGUOUS) for ending in further)
        texts = self._texts(parts, cells)
        if image is None:
            yield Rejected(row, Reason("no image among its members"))
        elif isinstance(texts, Reason):
            yield Rejected(row, texts)
        else:
            yield Sample(
                row,
                InMemory(f"{row}{image}", parts[image]),
                texts,
                plain(columns),
                id=self._role("id", cells),
                product=self._role("product", cells),
                split=self._split(
                    self._role("split", cells) or "", self.options.columns.split or ""
                )
                or self._flag(cells),
            )

    def _texts(self, parts: Parts, cells: Cells) -> tuple[str, ...] | Reason:
        """The captions, or why there are none."""
        words = "no caption: neither a .txt nor a caption in its .json"
        try:
            texts = self._captions(self._written(parts, cells))
        except KeyError as empty:
            return captions.empty_field(empty.args[0])
        except ValueError as problem:
            return captions.unreadable_cell(problem)
        return texts or Reason(words, Cause.NO_CAPTION)

    def _written(self, parts: Parts, cells: Cells) -> list[str]:
        """The captions as they are written in the sample's members."""
        if self.options.caption:
            return [captions.fill(self.options.caption, cells)]
        mapped = self.options.columns.names("caption")
        texts = [
            data.decode("utf-8", "replace") for end, data in parts.items() if _last(end) in TEXTS
        ]
        if texts and not mapped:
            return [line for text in texts for line in captions.text_captions(text)]
        names = mapped or ROLES["caption"]
        written = (captions.cell_captions(cells[name]) for name in names if cells.get(name))
        return list(next(written, ()))

    def _role(self, role: str, cells: Cells) -> str | None:
        """An id, product or split: mapped, of a shard of ours, or by the column's usual name."""
        ours = cells.get("unidiff")
        if isinstance(ours, dict):
            return captions.cell_text(ours.get("group" if role == "product" else role)) or None
        mapped = getattr(self.options.columns, role)
        names = ROLES[role] if mapped is None else [mapped]
        texts = (captions.cell_text(cells.get(name)) for name in names)
        return next(filter(None, texts), None)


def split_name(name: str) -> tuple[str, str] | None:
    """The key and the ending of a member's name; None for what is no part of a sample."""
    match = None if _META.match(name) else _KEY.fullmatch(name)
    return (match[1], match[2]) if match else None


def _cells(parts: Parts) -> Cells:
    """The sample's .json. Raises ValueError for one that is no object."""
    cells: Any = {}
    for ending, data in parts.items():
        if _last(ending) == ".json":
            cells = parse(data.decode("utf-8"))
            if not isinstance(cells, dict):
                raise ValueError(f"a JSON {type(cells).__name__}, not an object")
    return cells


def _last(ending: str) -> str:
    """.png of .b.png."""
    return "." + ending.rsplit(".", 1)[-1]


def _tars_of(location: Location) -> list[Location]:
    if location.is_file():
        return [location] if _tars.is_tar(location) else []
    return [file for file in location.files() if _tars.is_tar(file)]
