"""Fills the folder of shards: each sample gets key, group, split and shard; then the index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data import duplicates, splits
from unidiff_cli.data.duplicates import Groups, Ints
from unidiff_cli.data.index_file import INDEX, write_index
from unidiff_cli.data.kept_images import KeptImages
from unidiff_cli.data.placement import (
    Keys,
    in_key_order,
    sample_keys,
    shard_count,
    shard_numbers,
)
from unidiff_cli.data.shard_units import ShardUnits
from unidiff_cli.data.shard_writer import shard_name
from unidiff_cli.data.shards import Row
from unidiff_cli.data.spilled import Codec, Spilled
from unidiff_cli.data.stored_samples import StoredSample, StoredSamples
from unidiff_cli.progress import Progress

_NAMES = [field.name for field in fields(Row)]
_CAPTIONS = _NAMES.index("captions")


@dataclass(frozen=True)
class NewRows:
    """A row for every sample, its place in a shard still open, made where it is asked for.

    `splits` (n,) are numbers of NAMES; `named` (n,) says whose id no other sample has.
    """

    samples: StoredSamples
    keys: Keys
    groups: Groups
    splits: Ints
    named: np.ndarray

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, number: int) -> Row:
        return self.row(number, self.samples[number])

    def row(self, number: int, item: StoredSample) -> Row:
        """The row of a number, by its sample."""
        sample, image, key = item.sample, item.image, self.keys[number].tobytes().hex()
        return Row(
            key=key,
            # An id that is used twice names nothing.
            id=(sample.id or key) if self.named[number] else key,
            split=splits.NAMES[self.splits[number]],
            group=self.groups.name_of(number, sample.product),
            captions=sample.captions,
            attributes=sample.attributes,
            row=sample.row,
            path=item.path,
            width=image.width,
            height=image.height,
            content=image.content,
            phash=image.phash.hex(),
        )


def rows_of(samples: StoredSamples, pairs: list[tuple[int, int]], options: Prepare) -> NewRows:
    """The rows of samples; `pairs` are near-equal images."""

    def product_of(number: int) -> str:
        return samples[number].sample.product or ""

    contents = samples.column("content")
    distinct = duplicates.numbered(contents, lambda number: samples[number].image.content)
    groups = duplicates.groups_of(
        samples.column("product"),
        distinct if options.dedupe == "keep" else contents,
        pairs,
        product_of,
    )
    split = splits.assign_splits(
        groups.numbers, groups.name, samples.column("split"), options.splits, options.seed
    )
    ids, first = duplicates.numbered_alike(samples.column("id"))
    named = np.bincount(ids, minlength=1)[ids] == 1
    return NewRows(samples, sample_keys(distinct), groups, split, named)


def fill(
    folder: Path,
    rows: NewRows,
    units: ShardUnits,
    kept: KeptImages,
    size: int,
    progress: Progress,
) -> dict[str, str]:
    """Writes the shards, of `size` samples on average, and the index.

    Returns the sha256 of each file by its name.
    """
    files: dict[str, str] = {}
    placed: Spilled[Row] = Spilled.empty(kept.folder, Codec(_values, _row))
    order: list[Ints] = []
    for name, numbers in _by_shard(rows, size):
        items = [rows.samples[number] for number in numbers.tolist()]
        members = [rows.row(n, item) for n, item in zip(numbers.tolist(), items, strict=True)]
        stored = {row.key: item for row, item in zip(members, items, strict=True)}
        written, files[name] = units.place(folder / name, members, partial(_image, kept, stored))
        for row in written:
            placed.append(row)
        order.append(numbers)
        progress("shards", len(placed), len(rows))
    by_key = in_key_order(rows.keys[np.concatenate(order)])
    return files | {INDEX: write_index(folder, placed.take(by_key))}


def _image(kept: KeptImages, stored: dict[str, StoredSample], row: Row) -> bytes:
    return stored[row.key].read(kept)


def _by_shard(rows: NewRows, size: int) -> Iterator[tuple[str, Ints]]:
    """The samples of each shard in the order of their keys, by the name of its file."""
    order = in_key_order(rows.keys)
    shards: list[tuple[str, int, int]] = []
    numbers = np.empty(len(rows), int)
    for code, name in enumerate(splits.NAMES):
        own = np.flatnonzero(rows.splits == code)
        count = shard_count(len(own), size)
        if count:
            numbers[own] = shard_numbers(rows.keys[own], count)
            shards += [(shard_name(name, number), code, number) for number in range(count)]
    # Shard by shard, each in the order of keys.
    order = order[np.lexsort((numbers[order], rows.splits[order]))]
    ranked = rows.splits[order].astype(int) << 32 | numbers[order]
    for name, code, number in sorted(shards):
        start, end = np.searchsorted(ranked, [code << 32 | number, (code << 32 | number) + 1])
        if start < end:
            yield name, order[start:end]


def _values(row: Row) -> list[Any]:
    return [getattr(row, name) for name in _NAMES]


def _row(values: list[Any]) -> Row:
    values[_CAPTIONS] = tuple(values[_CAPTIONS])
    return Row(*values)
