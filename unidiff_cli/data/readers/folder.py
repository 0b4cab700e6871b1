"""A folder of images without a table: text files beside them are captions, sub-folders classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from unidiff_cli.config.schema import Prepare
from unidiff_cli.data import captions
from unidiff_cli.data.locations import Location, shown
from unidiff_cli.data.prompts import load_prompts
from unidiff_cli.data.readers import Reader
from unidiff_cli.data.sample import (
    FOREIGN_SUFFIXES,
    IMAGE_SUFFIXES,
    UNREAD,
    Cause,
    Reason,
    Rejected,
    Sample,
    unreadable,
)
from unidiff_cli.data.splits import SPLITS
from unidiff_cli.data.walk import OURS, walk
from unidiff_cli.errors import UsageError

SIDECARS = (".txt", ".caption")
COLUMNS = ("class", "folder", "split")
NO_CLASS = frozenset(
    ("images", "image", "imgs", "img", "photos", "pictures", "pics", "data", "dataset")
)
# Images looked at to describe a folder, and what is named of it that is not read.
HEAD, NAMED = 10_000, 5


class Folder(Reader):
    """Images below a folder; each line of `a.txt` is a caption of `a.jpg` and wins over classes."""

    def __init__(self, location: Location, options: Prepare) -> None:
        super().__init__(location, options)
        for column in options.where:
            if column not in COLUMNS:
                raise UsageError(
                    f"prepare.where names the column '{column}', "
                    "but a folder without a table has none of that name.",
                    f"Known: {', '.join(COLUMNS)}.",
                )

    @classmethod
    def accepts(cls, location: Location) -> bool:
        return location.is_folder()

    def describe(self) -> list[str]:
        items = list(islice(self, HEAD))
        classes = Counter(
            item.attributes.get("class", "") for item in items if isinstance(item, Sample)
        )
        unread = [
            item.row for item in items if isinstance(item, Rejected) and item.reason.cause in UNREAD
        ]
        named = [name for name, _ in classes.most_common(8) if name]
        lines = ["a folder of images without a table"]
        if named:
            more = ", …" if len(classes) > 8 else ""
            lines.append(f"classes from sub-folders: {', '.join(named)}{more}")
        lines += [f"{self.notes[OURS]:,} {OURS}"] if self.notes[OURS] else []
        lines += [f"not read: {', '.join(unread[:NAMED])}"] if unread else []
        return [*lines, *self.peek()]

    def __iter__(self) -> Iterator[Sample | Rejected]:
        self._begin_pass()
        files = list(walk(self.root, self.notes))
        sidecars = {
            file for file in files if isinstance(file, Location) and file.suffix in SIDECARS
        }
        for file in files:
            if isinstance(file, Rejected):
                yield file
            elif file.suffix in IMAGE_SUFFIXES | FOREIGN_SUFFIXES:
                columns = self._columns(file)
                if self._keeps(columns):
                    yield self._sample(file, columns, sidecars)

    def _columns(self, image: Location) -> dict[str, Any]:
        """What an image's path says.

        train/men/shirts/a.jpg is split train, class shirts, folder men/shirts.
        """
        folders = image.relative_to(self.root).split("/")[:-1]
        columns = {}
        if folders and folders[0].lower() in SPLITS:
            columns["split"] = SPLITS[folders.pop(0).lower()]
        folders = [name for name in folders if name.lower() not in NO_CLASS]
        if folders:
            columns["class"] = folders[-1]
        if len(folders) > 1:
            columns["folder"] = "/".join(folders)
        return columns

    def _sample(
        self, image: Location, columns: dict[str, Any], sidecars: set[Location]
    ) -> Sample | Rejected:
        row = image.relative_to(self.root)
        sidecar = next((s for s in _sidecars_of(image) if s in sidecars), None)
        texts = self._from_text(sidecar) if sidecar else self._from_columns(columns)
        if isinstance(texts, Reason):
            return Rejected(row, texts, row)
        return Sample(row, image, texts, columns, split=columns.get("split"))

    def _from_text(self, sidecar: Location) -> tuple[str, ...] | Reason:
        """The captions in a file beside an image, or why there are none."""
        name, most = shown(sidecar.name), self.options.limits.text_bytes
        try:
            if sidecar.size > most:
                return Reason(f"{name} is larger than {most:,} bytes (prepare.limits.text_bytes)")
            data = sidecar.read(most)
        except (OSError, ValueError) as problem:
            return unreadable(problem, name)
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("cp1252", "replace")
        empty = Reason(f"no caption: {name} is empty", Cause.NO_CAPTION)
        try:
            return self._captions(captions.text_captions(text)) or empty
        except ValueError as problem:
            return captions.unreadable_cell(problem)

    def _from_columns(self, columns: dict[str, Any]) -> tuple[str, ...] | Reason:
        """The caption that an image's path gives, or why there is none."""
        name = str(columns.get("class", "")).replace("_", " ").replace("-", " ")
        template = self.options.caption or load_prompts().class_caption
        try:
            return (captions.fill(template, {**columns, "class": name}),)
        except KeyError as missing:
            return Reason(
                f"no caption: no .txt beside it and no sub-folder that gives its {missing.args[0]}",
                Cause.NO_CAPTION,
            )


def _sidecars_of(image: Location) -> Iterator[Location]:
    """a.txt and a.jpg.txt of a.jpg, and the like, likeliest first."""
    for suffix in SIDECARS:
        yield image.sibling(PurePosixPath(image.name).with_suffix(suffix).name)
        yield image.sibling(image.name + suffix)
