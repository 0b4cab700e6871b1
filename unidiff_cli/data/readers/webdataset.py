"""WebDataset tars written by others: read in order, never extracted, never unpickled.

A sample is the members that share a key: the name up to its first dot, as webdataset has it
(`test_keys_are_those_of_webdataset`). Its images, `.txt` or `.caption` and `.json` are read;
nothing of a tar decides what is run. webdataset itself is not called here, since importing it
imports torch: see docs/decisions/2026-11-26-webdataset-where-it-is-safe.md.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data import captions
from unidiff_cli.data.columns import ROLES
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.locations import InMemory, Location, shown
from unidiff_cli.data.prompts import load_prompts
from unidiff_cli.data.readers import Reader
from unidiff_cli.data.readers.catalogue import img2dataset, table_names
from unidiff_cli.data.readers.rows.cells import Cells, bounded, parse, plain
from unidiff_cli.data.readers.tars import tar_file
from unidiff_cli.data.readers.tars.keys import (
    CLASS,
    TEXTS,
    Parts,
    class_of,
    crowded_keys,
    folders_of,
    is_image,
    is_of_macos,
    last,
    products_of,
    split_name,
    texts_of,
)
from unidiff_cli.data.readers.tars.look import TarLook, look_into
from unidiff_cli.data.readers.tars.pending import Pending, has_images
from unidiff_cli.data.sample import IMAGE_SUFFIXES, Cause, Extent, Reason, Rejected, Sample
from unidiff_cli.data.walk import walk

PICKLES = (".pkl", ".pickle", ".pyd", ".pth", ".pt", ".pyc", ".npy", ".npz")
# Notes for a person.
UNOPENED = "members that hold pickles or arrays, not opened"
KEYLESS = "members whose names give no key (no ending, or a dot first), left out"
FURTHER = "further images of a sample, such as 0.mask.png beside 0.png, left out"
APART = "samples whose members lie far apart in their tar, read in two passes"
SECOND = Reason("a second member of this name in its sample")

# Members of one sample.
MEMBERS = 100


class Webdataset(Reader):
    """The samples of one tar, or of all tars below a folder in the order of their names."""

    def __init__(self, location: Location, options: Prepare) -> None:
        super().__init__(location, options)
        self._look: TarLook | None = None

    @classmethod
    def accepts(cls, location: Location) -> bool:
        return any(isinstance(item, Location) for item in _tars_of(location, Counter()))

    def describe(self) -> list[str]:
        paths = [self._path(tar) for tar in self._tars()]
        number = f"{len(paths)} tar{'s' if len(paths) != 1 else ''}"
        splits = dict.fromkeys(filter(None, table_names.splits_of(paths)))
        lines = [f"WebDataset: {number}, {paths[0] if paths else 'none'} first"]
        lines += [f"splits by the tars' names: {', '.join(splits)}"] if splits else []
        lines += self._looked().splits.describe()
        return [*lines, *self.peek()]

    def decisions(self) -> dict[str, str]:
        return self._looked().decisions()

    def doubts(self) -> list[Doubt]:
        return [*super().doubts(), *self._looked().doubts()]

    def __iter__(self) -> Iterator[Sample | Rejected]:
        self._begin_pass()
        self._looked()
        items = list(_tars_of(self.location, self.notes))
        yield from (item for item in items if isinstance(item, Rejected))
        tars = [item for item in items if isinstance(item, Location)]
        splits = table_names.splits_of([self._path(tar) for tar in tars])
        for tar, split in zip(tars, splits, strict=True):
            yield from self._read(tar, split)

    def extent(self) -> Extent:
        digest, total = hashlib.sha256(), 0
        for tar in self._tars():
            stat = tar.stat()
            state = f"{self._path(tar)}\0{stat.size}\0{stat.version}\0"
            digest.update(state.encode("utf-8", "backslashreplace"))
            total += stat.size
        return Extent(digest.hexdigest()[:16], None, total)

    def _tars(self) -> list[Location]:
        return [tar for tar in _tars_of(self.location, Counter()) if isinstance(tar, Location)]

    def _path(self, tar: Location) -> str:
        return tar.relative_to(self.root)

    def _looked(self) -> TarLook:
        """What the first members of the tars say of all."""
        if self._look is None:
            self._look = look_into(self._tars(), self.options)
        return self._look

    # ---- members

    def _wanted(self, name: str) -> int:
        """The bytes that a member may have; 0 for what is not read."""
        names, limits = split_name(name, self._looked().dot), self.options.limits
        ending = last(f".{names[1].lower()}") if names else ""
        if ending in IMAGE_SUFFIXES:
            return limits.image_bytes
        return limits.text_bytes if ending in (*TEXTS, ".json", CLASS) else 0

    def _read(self, tar: Location, split: str | None) -> Iterator[Sample | Rejected]:
        """The samples of a tar; those whose members lie far apart come last."""
        pending = Pending()
        for group in self._groups(tar):
            if isinstance(group, Rejected):
                yield group
                continue
            key, fresh = group
            row, held = self._row(tar, key), pending.parts(key)
            yield from (Rejected(f"{row}{ending}", SECOND) for ending in fresh if ending in held)
            parts = fresh | held
            if not (self._is_whole(parts) and has_images(parts)) and pending.hold(key, parts):
                continue
            self.notes.update([APART] if pending.take(key) else [])
            yield from self._samples(row, parts, self._split_of(key, split))
        yield from self._second_pass(tar, pending, split)
        for key, parts in pending:
            yield from self._samples(self._row(tar, key), parts, self._split_of(key, split))

    def _second_pass(
        self, tar: Location, pending: Pending, split: str | None
    ) -> Iterator[Sample | Rejected]:
        """Samples whose images came before their texts: the images are read again."""
        whole = {key for key, parts in pending if self._is_whole(parts)}
        if not whole:
            return

        def wanted(name: str) -> int:
            names = split_name(name, self._looked().dot)
            is_wanted = names and names[0] in whole and is_image(f".{names[1].lower()}")
            return self.options.limits.image_bytes if is_wanted else 0

        for member in tar_file.members(tar, wanted, self.options.limits.inflation):
            names = split_name(member.name, self._looked().dot)
            if names is None or names[0] not in whole or not member.data:
                continue
            key, row = names[0], self._row(tar, names[0])
            if not pending.add_image(key, f".{names[1].lower()}", member.data):
                pending.take(key)
                whole.discard(key)
                yield Rejected(row, Reason("its images lie too far apart in the tar"))
            elif has_images(pending.parts(key)):
                whole.discard(key)
                self.notes[APART] += 1
                yield from self._samples(row, pending.take(key), self._split_of(key, split))

    def _groups(self, tar: Location) -> Iterator[tuple[str, Parts] | Rejected]:
        """Members in a row that share a key, and those that cannot be read."""
        key, parts, size, limits = "", Parts(), 0, self.options.limits
        for member in tar_file.members(tar, self._wanted, limits.inflation):
            row = f"{shown(self._path(tar))}:{member.name}"
            if member.problem:
                yield Rejected(row, Reason(member.problem))
                continue
            names = split_name(member.name, self._looked().dot)
            if names is None or is_of_macos(member.name):
                self.notes[KEYLESS] += 1
                continue
            if names[0] != key:
                if parts:
                    yield key, parts
                key, parts, size = names[0], Parts(), 0
            ending = f".{names[1].lower()}"
            size += len(member.data)
            if ending in parts:
                yield Rejected(row, SECOND)
            elif len(parts) == MEMBERS or size > limits.image_bytes + limits.text_bytes:
                yield Rejected(row, Reason("its sample has too many members, or too large"))
            else:
                parts[ending] = member.data
        if parts:
            yield key, parts

    def _row(self, tar: Location, key: str) -> str:
        return f"{shown(self._path(tar))}:{PurePosixPath(key)}"

    # ---- samples

    def _is_whole(self, parts: Parts) -> bool:
        """Whether a sample has an image and a caption, as far as can be told at once."""
        has_text = any(last(ending) in TEXTS for ending in parts)
        has_text = has_text or bool(class_of(parts))
        return any(map(is_image, parts)) and (has_text or self._has_json_caption(parts))

    def _has_json_caption(self, parts: Parts) -> bool:
        try:
            return bool(self._written(parts, _cells(parts)))
        # What is wrong with it is said where it is read.
        except (ValueError, KeyError):
            return True

    def _samples(self, row: str, parts: Parts, split: str | None) -> Iterator[Sample | Rejected]:
        """What the members of one key give: a sample for each image, or why there is none."""
        self.notes.update(UNOPENED for ending in parts if last(ending) in PICKLES)
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
        images, others = products_of(parts)
        if len(images) > 1:
            self._notice(row, parts)
        if others:
            self.notes[FURTHER] += len(others)
        if not images:
            missing = Reason("no image among its members")
            yield Rejected(row, img2dataset.failure(cells) or missing)
        for image in images:
            name = row if len(images) == 1 else f"{row}{image}"
            texts = self._texts(texts_of(parts, image), cells)
            if isinstance(texts, Reason):
                yield Rejected(name, texts)
                continue
            yield Sample(
                name,
                InMemory(f"{row}{image}", parts[image]),
                texts,
                plain(columns),
                id=self._role("id", cells) if len(images) == 1 else None,
                product=self._role("product", cells) or (row if len(images) > 1 else None),
                split=self._split(
                    self._role("split", cells) or "", self.options.columns.split or ""
                )
                or self._flag(cells)
                or split,
            )

    def _notice(self, key: str, parts: Parts) -> None:
        """Keeps in mind a key that holds several samples, in a tar that was not looked into."""
        look = self._looked()
        if look.dot == "first" and not look.crowded:
            look.crowded |= crowded_keys(f"{key}{ending}" for ending in parts)

    def _split_of(self, key: str, split: str | None) -> str | None:
        """The split that the folders of a key say, else that of its tar."""
        splits, folders = self._looked().splits, folders_of(key)
        if name := splits.unknown(folders):
            self._unknown_splits[shown(name)] += 1
        return None if splits.is_off else splits.of(folders)[0] or split

    def _texts(self, parts: Parts, cells: Cells) -> tuple[str, ...] | Reason:
        """The captions, or why there are none."""
        words = "no caption: neither a .txt nor a caption in its .json"
        if CLASS in parts:
            words += "; its .cls is the number of a class, whose name is not in the tar"
        try:
            texts = self._captions(self._written(parts, cells))
        except KeyError as empty:
            return captions.empty_field(empty.args[0])
        except UnicodeError:
            return Reason("its text is not UTF-8; say what it is: --set prepare.encoding=cp1252")
        except ValueError as problem:
            return captions.unreadable_cell(problem)
        return texts or Reason(words, Cause.NO_CAPTION)

    def _written(self, parts: Parts, cells: Cells) -> list[str]:
        """The captions as they are written in the sample's members."""
        if self.options.caption:
            return [captions.fill(self.options.caption, cells)]
        mapped = self.options.columns.names("caption")
        texts = [
            self._looked().texts.decode(data) for end, data in parts.items() if last(end) in TEXTS
        ]
        if texts and not mapped:
            return [line for text in texts for line in self._looked().texts.captions_in(text)]
        names = mapped or ROLES["caption"]
        written = [captions.cell_captions(cells[name]) for name in names if cells.get(name)]
        if not written and not mapped and (name := class_of(parts)):
            name = name.replace("_", " ").replace("-", " ")
            return [captions.fill(load_prompts().class_caption, {"class": name})]
        return list(written[0]) if written else []

    def _role(self, role: str, cells: Cells) -> str | None:
        """An id, product or split: mapped, of a shard of ours, or by the column's usual name."""
        ours = cells.get("unidiff")
        if isinstance(ours, dict):
            return captions.cell_text(ours.get("group" if role == "product" else role)) or None
        mapped = getattr(self.options.columns, role)
        names = ROLES[role] if mapped is None else [mapped]
        texts = (captions.cell_text(cells.get(name)) for name in names)
        return next(filter(None, texts), None)


def _cells(parts: Parts) -> Cells:
    """The sample's .json, and its class. Raises ValueError for one that is no object."""
    cells: Any = {}
    for ending, data in parts.items():
        if last(ending) == ".json":
            cells = parse(data.decode("utf-8"))
            if not isinstance(cells, dict):
                raise ValueError(f"a JSON {type(cells).__name__}, not an object")
    name = class_of(parts)
    return {"class": name, **cells} if name else cells


def _tars_of(location: Location, notes: Counter[str]) -> Iterator[Location | Rejected]:
    """A tar, or all tars below a folder and the folders that cannot be read."""
    if location.is_file():
        yield from [location] if tar_file.is_tar(location) else []
        return
    for item in walk(location, notes):
        if isinstance(item, Rejected) or tar_file.is_tar(item):
            yield item
