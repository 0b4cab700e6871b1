"""Fills the folder of shards: each sample gets key, group, split and shard; then the index."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data import duplicates, splits
from unidiff_cli.data.decode import StoredSample
from unidiff_cli.data.index_file import INDEX, write_index
from unidiff_cli.data.kept_images import KeptImages
from unidiff_cli.data.placement import sample_keys, shard_count, shard_number
from unidiff_cli.data.shard_units import ShardUnits
from unidiff_cli.data.shard_writer import shard_name
from unidiff_cli.data.shards import Row
from unidiff_cli.progress import Progress


def rows_of(
    stored: list[StoredSample], pairs: list[tuple[int, int]], options: Prepare
) -> list[Row]:
    """A row for every sample, its place in a shard still open; `pairs` are near-equal images."""
    samples = [item.sample for item in stored]
    products, contents = [s.product for s in samples], [item.image.content for item in stored]
    keys = sample_keys(contents)
    if options.dedupe == "keep":
        contents = duplicates.numbered(contents)
    groups = duplicates.group_names(products, contents, pairs)
    split = splits.assign_splits(groups, [s.split for s in samples], options.splits, options.seed)
    uses = Counter(s.id for s in samples)
    return [
        Row(
            key=keys[n],
            # An id that is used twice names nothing.
            id=item.sample.id if item.sample.id and uses[item.sample.id] == 1 else keys[n],
            split=split[n],
            group=groups[n],
            captions=item.sample.captions,
            attributes=item.sample.attributes,
            row=item.sample.row,
            path=item.path,
            width=item.image.width,
            height=item.image.height,
            content=item.image.content,
            phash=item.image.phash.hex(),
        )
        for n, item in enumerate(stored)
    ]


def fill(
    folder: Path,
    rows: list[Row],
    stored: list[StoredSample],
    units: ShardUnits,
    kept: KeptImages,
    size: int,
    progress: Progress,
) -> dict[str, str]:
    """Writes the shards, of `size` samples on average, and the index.

    Returns the sha256 of each file by its name.
    """
    items = {row.key: item for row, item in zip(rows, stored, strict=True)}
    files: dict[str, str] = {}
    indexed: list[Row] = []
    for name, members in _by_shard(rows, size):
        placed, sha256 = units.place(folder / name, members, lambda row: items[row.key].read(kept))
        indexed += placed
        files[name] = sha256
        progress("shards", len(indexed), len(rows))
    indexed.sort(key=lambda row: row.key)
    return files | {INDEX: write_index(folder, indexed)}


def _by_shard(rows: list[Row], size: int) -> list[tuple[str, list[Row]]]:
    """The samples of each shard in the order of their keys, by the name of its file."""
    count = {split: shard_count(n, size) for split, n in Counter(r.split for r in rows).items()}
    members: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.key):
        number = shard_number(row.key, count[row.split])
        members[shard_name(row.split, number)].append(row)
    return sorted(members.items())
