"""Samples streamed out of shards, in order, through webdataset's pipeline.

By position (`Samples`) each image is one small read anywhere. Streamed, a process reads a few MB of
a shard at a time, so slow and remote disks keep up. The order is another one, as reproducible: see
`SpanOrder`. webdataset's stages take the bytes apart; they are given opened bytes, so that no
address is followed and no command run, and no decoder. What they give is checked with the index: a
damaged, missing or foreign sample is an error, never a shorter epoch.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from unidiff_cli.data.batch import Batch
from unidiff_cli.data.by_shape import Maps, joined_maps
from unidiff_cli.data.dataset import Samples, read_ahead
from unidiff_cli.data.row import Row
from unidiff_cli.data.rows import taken
from unidiff_cli.data.shards import REDO, Shards, check
from unidiff_cli.data.spans import SpanOrder
from unidiff_cli.errors import Damaged


class StreamedSamples(Samples):
    """Step number → Batch, as `Samples`, in the order of spans.

    Any step can be asked for; steps in sequence read each span once. A process holds a span for
    each of its places in the batch.
    """

    order: SpanOrder

    def _order(self) -> SpanOrder:
        # Place of the batch -> the span it reads, by name, and those of its images not yet given.
        self._spans: dict[int, tuple[tuple[int, int], dict[int, bytes]]] = {}
        return SpanOrder(self.rows, self.plan.batch_size, self.plan.seed)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_spans": {}}

    def image_bytes(self, positions: Sequence[int]) -> Iterator[bytes]:
        return map(self._image_bytes, positions)

    def read(self, steps: range, workers: int) -> Iterator[Batch]:
        """The batches of the given steps; each worker streams its part of the batch's places."""
        parts = max(1, min(workers, self.plan.share))
        keys = product(steps, range(parts))
        tensors = read_ahead(_Parts(self, parts), keys, parts if workers else 0)
        for step in steps:
            several = [next(tensors) for _ in range(parts)]
            names = dict.fromkeys(name for part in several for name in part)
            whole = {name: joined_maps([p[name] for p in several if name in p]) for name in names}
            yield self.batch(step, whole)

    def _image_bytes(self, position: int) -> bytes:
        place, index = position % self.plan.batch_size, self.order(position)
        name, indices = self.order.span(position)
        held, images = self._spans.get(place, (None, {}))
        if held != name or index not in images:
            rows = list(taken(self.rows, indices))
            images = dict(zip(map(int, indices), read_span(self.shards, rows), strict=True))
            self._spans[place] = name, images
        return images.pop(index)


class _Parts(Dataset[dict[str, Maps]]):
    """(step, part) → the tensors of one of several equal parts of a step's samples."""

    def __init__(self, samples: StreamedSamples, parts: int) -> None:
        self.samples, self.parts = samples, parts

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Maps]:
        step, part = key
        positions = np.array_split(self.samples.positions(step), self.parts)[part]
        return self.samples.tensors(positions.tolist())


def read_span(shards: Shards, rows: Sequence[Row]) -> list[bytes]:
    """The images of rows of one shard, given in the order of their bytes, by one read.

    Raises Damaged where that piece of the shard holds anything else than the index says.
    """
    file = shards.tars.place(rows[0].shard)
    data = shards.span_bytes(rows[0], rows[-1])
    wanted = {row.key: row for row in rows}
    images: dict[str, bytes] = {}
    for sample in _tar_samples(file, rows[0], data):
        key = sample.pop("__key__")
        # Samples of another split may lie between those of this one.
        if key not in wanted and shards.row(key) is None:
            raise Damaged(f"{file} holds a sample {key} that its index does not know.", REDO)
        if key in wanted:
            images[key] = _image(file, wanted[key], sample)
    for row in rows:
        if row.key not in images:
            raise Damaged(f"{file}: sample {row.key} is missing.", REDO)
    return [images[row.key] for row in rows]


def _tar_samples(file: str, first: Row, data: bytes) -> Iterator[dict[str, Any]]:
    """The samples in a piece of a tar, by webdataset: the key, and the bytes of each ending."""
    from webdataset import DataPipeline
    from webdataset.tariterators import group_by_keys, tar_file_expander

    # What begins otherwise might be taken for a compressed archive.
    if not data.startswith(first.key.encode()):
        raise Damaged(f"{file}: sample {first.key} is missing.", REDO)
    source = [{"url": file, "stream": io.BytesIO(data)}]
    try:
        yield from DataPipeline([source], tar_file_expander, group_by_keys)
    except (tarfile.TarError, ValueError, OSError) as problem:
        reason = problem.args[0] if problem.args else type(problem).__name__
        raise Damaged(f"{file} cannot be read as a tar: {reason}.", REDO) from problem


def _image(file: str, row: Row, sample: dict[str, Any]) -> bytes:
    """The image of a sample, its bytes checked."""
    members = {ending: data for ending, data in sample.items() if not ending.startswith("__")}
    text = members.pop("json", b"")
    image = members.popitem()[1] if len(members) == 1 else b""
    check(file, row.key, "image", image, row.image_size, row.image_crc)
    check(file, row.key, "text", text, row.json_size, row.json_crc)
    return image
