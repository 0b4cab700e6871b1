"""What the first members of tars say of all: where keys end, how texts are read, and splits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import PurePosixPath

from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.locations import Location, shown
from unidiff_cli.data.readers.folders.splits import FolderSplits
from unidiff_cli.data.readers.folders.text_look import TextLook, look_at
from unidiff_cli.data.readers.tars import tar_file
from unidiff_cli.data.readers.tars.keys import (
    TEXTS,
    VIEWS,
    Dot,
    crowded_keys,
    folders_of,
    is_image,
    is_of_macos,
    last,
)

# Members of the first tar that are looked at, and of each other one.
HEAD, OTHERS = 2000, 64
# Endings of tables that somebody may have packed with their images.
TABLES = (".csv", ".tsv", ".jsonl", ".xlsx", ".parquet")
# Tars that are looked into, evenly chosen.
TARS = 100


@dataclass
class TarLook:
    """Where keys end, keys that hold several samples, and how texts are read."""

    options: Prepare
    dot: Dot = "first"
    crowded: dict[str, int] = field(default_factory=dict)
    texts: TextLook = field(default_factory=TextLook)
    splits: FolderSplits = field(default_factory=lambda: FolderSplits(()))
    # Tables among the members, which are of no sample.
    tables: list[str] = field(default_factory=list)

    def decisions(self) -> dict[str, str]:
        keys = {"keys in tars end at": f"the {self.dot} dot of a name"} if self.crowded else {}
        return {**keys, **self.texts.decisions()}

    def doubts(self) -> Iterator[Doubt]:
        yield from self.texts.doubts(self.options)
        yield from self.splits.doubts()
        if self.tables:
            yield Doubt(
                f"The tar holds a table, {shown(self.tables[0])}, which is not read: it may be a "
                "packed folder of images.",
                "If so, unpack it and prepare the folder: tar -xf FILE",
                stops=True,
            )
        if self.crowded and not self.options.tar_keys:
            key, count = next(iter(self.crowded.items()))
            yield Doubt(
                f"By webdataset's rule a key ends at the first dot of a name, so that {count:,} "
                f"images with a text each have the key '{key}'; they are read with keys that end "
                f"at the {self.dot} dot.",
                "Say which: --set prepare.tar_keys=last (each is a product) or "
                "--set prepare.tar_keys=first (all of a key are one product)",
                stops=True,
            )


def look_into(tars: Sequence[Location], options: Prepare) -> TarLook:
    """Looks at the first members of tars; an image is passed over."""
    names, texts, crowded = [], [], dict[str, int]()
    most = options.limits.text_bytes

    def wanted(name: str) -> int:
        return most if last(f".{name.lower()}") in TEXTS else 0

    chosen = sorted({n * len(tars) // TARS for n in range(TARS)}) if len(tars) > TARS else None
    for number, tar in enumerate(tars if chosen is None else [tars[n] for n in chosen]):
        own, count = [], OTHERS if number else HEAD
        for member in islice(tar_file.members(tar, wanted, options.limits.inflation), count):
            if not member.problem and not is_of_macos(member.name):
                own.append(member.name)
                texts += [(member.name, member.data)] if member.data else []
        crowded |= crowded_keys(own)
        names += own
    look = TarLook(options, crowded=crowded, texts=look_at(lambda: texts, options))
    look.tables = list(_tables(names))
    is_crowded = any(count > VIEWS for count in look.crowded.values())
    look.dot = options.tar_keys or ("last" if is_crowded else "first")
    words = {word.strip().lower(): split for word, split in options.split_words.items()}
    folders = [folders_of(name) for name in names if is_image(f".{name.lower()}")]
    look.splits = FolderSplits(folders, words, options.columns.split == "")
    return look


def _tables(names: Sequence[str]) -> Iterator[str]:
    """The tables among members that have no image's name."""
    stems = {str(PurePosixPath(name).with_suffix("")) for name in names if is_image(name)}
    for name in names:
        path = PurePosixPath(name)
        if path.suffix.lower() in TABLES and str(path.with_suffix("")) not in stems:
            yield name
