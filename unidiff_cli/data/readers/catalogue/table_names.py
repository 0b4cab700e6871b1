"""Which files are parts of one catalogue, by their names: shards, splits, one table a folder.

`data/train-00000-of-00002.parquet` and `data/test-00000-of-00001.parquet` are of one family: they
differ in a split and in numbers only. So are `train/metadata.jsonl` and `test/metadata.jsonl`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

from unidiff_cli.data.split_words import SPLITS, folded, splits_in, whole_split

# What the table of a folder is usually called.
NAMED = (
    "captions",
    "metadata",
    "catalog",
    "catalogue",
    "products",
    "items",
    "dataset",
    "data",
    "styles",
)
# A table of this name belongs to the folder that it lies in, as Hugging Face's folders have it.
PER_FOLDER = "metadata"
_SHARD = re.compile(r"(.*?)-?(\d{5})-of-(\d{5})(?![0-9])")
# Zeros in front: 00000.parquet, part-00000.parquet.
_PADDED = re.compile(r"(?<!\d)\d{4,}\.[a-z.]+$")
_WORD = re.compile(r"[^\W\d_]+")


def family(path: str) -> str:
    """What the parts of one catalogue have in common: the path without splits and numbers."""
    pure = PurePosixPath(path)
    words = [word for word in _words(stem(pure.name)) if word not in SPLITS]
    folders = [part for part in pure.parts[:-1] if not whole_split(part)]
    if words == [PER_FOLDER]:
        folders = []
    return "/".join([*folders, " ".join(words) + ending(pure.name)])


def split_of(path: str) -> str | None:
    """The split that a path names: a word of its file's name, else its innermost folder's."""
    pure = PurePosixPath(path)
    for part in (stem(pure.name), *reversed(pure.parts[:-1])):
        words = [word for word in _words(part) if word in SPLITS]
        if words and (part == stem(pure.name) or whole_split(part)):
            # What may be held out is.
            return min(splits_in(words), key=("test", "val", "train").index)
    return None


def splits_of(paths: Sequence[str]) -> list[str | None]:
    """The split of each path; none where all are in the same, which says nothing."""
    splits = [split_of(path) for path in paths]
    return splits if len(set(splits)) > 1 else [None] * len(paths)


def is_named(path: str) -> bool:
    """Whether a table has a usual name, such as catalog.csv or captions_val2017.json."""
    name = stem(PurePosixPath(path).name).lower()
    words = _words(name)
    return name in NAMED or bool(words and words[0] in ("captions", PER_FOLDER, "products"))


def missing_shards(paths: Sequence[str]) -> list[str]:
    """The shards that are not there, by the names of the others: train-00001-of-00002."""
    numbers: dict[tuple[str, str, int], set[int]] = defaultdict(set)
    for path in paths:
        if shard := _SHARD.match(path):
            numbers[shard[1], PurePosixPath(path).suffix, int(shard[3])].add(int(shard[2]))
    return [
        f"{name}-{number:05d}-of-{count:05d}{suffix}"
        for (name, suffix, count), present in numbers.items()
        for number in range(min(count, 100_000))
        if number not in present
    ]


def is_guess(paths: Sequence[str]) -> bool:
    """Whether tables of one folder differ in numbers only, and not as shards do.

    export_1.csv and export_2.csv may be two halves, or two states of one table.
    """
    places = [(str(PurePosixPath(p).parent), split_of(p)) for p in paths]
    is_sharded = all(_SHARD.match(PurePosixPath(p).name) or _PADDED.search(p) for p in paths)
    return len(set(places)) < len(paths) and not is_sharded


def stem(name: str) -> str:
    """The name without its endings: catalog of catalog.csv.gz."""
    return name.removesuffix(".gz").rsplit(".", 1)[0] if "." in name else name


def ending(name: str) -> str:
    """The ending in lower case: .csv.gz of catalog.csv.gz."""
    return name[len(stem(name)) :].lower()


def _words(text: str) -> list[str]:
    return [word for word in _WORD.findall(folded(text)) if word != "of"]
