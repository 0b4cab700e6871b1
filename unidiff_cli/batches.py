"""Batches: which samples make step k, and their pictures as tensors.

The order is a pure function of (seed, epoch) and a step's samples one of its number, so a run that resumes
at step k reads what an uninterrupted one would, at no cost, on any number of processes and workers.
"""

from __future__ import annotations

import io
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .captions import fold
from .shards import Row, Shards

Transform = Callable[[Sequence[Image.Image]], Tensor]


@dataclass
class Batch:
    """One step's samples on this process. `positions` count samples over the whole run, all processes together."""

    step: int
    positions: list[int]
    rows: list[Row]
    captions: list[str]
    caption_ids: Tensor  # (B,) int64, equal for equal captions
    group_ids: Tensor  # (B,) int64, equal within a product or duplicate group
    clip_pixels: Tensor | None = None  # (B, 3, s, s) uint8
    draw_pixels: Tensor | None = None  # (b, 3, S, S) uint8
    latents: Tensor | None = None  # (b, 2c, h, w): posterior mean and deviation
    drawn: list[int] | None = (
        None  # the b rows that the UNet sees, whose latents or draw_pixels these are; None: all B
    )


def picture(shards: Shards, row: Row) -> Image.Image:
    """The decoded picture of a row, RGB. Raises Damaged where the shard's bytes are not what was written."""
    return Image.open(io.BytesIO(shards.image_bytes(row)), formats=["JPEG", "PNG", "WEBP"]).convert("RGB")


def order(count: int, seed: int, position: int) -> int:
    """The sample at a position of the endless shuffled stream: a new permutation of all samples each epoch."""
    epoch, offset = divmod(position, count)
    return int(_permutation(count, seed, epoch)[offset])


_PERMUTATIONS: dict[tuple[int, int, int], np.ndarray] = {}


def _permutation(count: int, seed: int, epoch: int) -> np.ndarray:
    key = (count, seed, epoch)
    if key not in _PERMUTATIONS:
        while len(_PERMUTATIONS) > 3:  # a batch spans two epochs at most; the rest is memory
            _PERMUTATIONS.pop(next(iter(_PERMUTATIONS)))
        _PERMUTATIONS[key] = np.random.default_rng([seed, epoch]).permutation(count)
    return _PERMUTATIONS[key]


def _identity(text: str) -> int:
    """A number equal for texts that differ in case and blanks only."""
    same = fold(text).casefold()
    return crc32(same.encode()) | (len(same) << 32)


class Samples(Dataset[Batch]):
    """Step number → Batch. Pictures come from `cached` .npy files (one row a sample) or are decoded and transformed."""

    def __init__(
        self,
        shards: Shards,
        rows: Sequence[Row],
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        shuffle: bool = True,
        denoise_batch: int = 0,
        cached: Mapping[str, Path] | None = None,
        transforms: Mapping[str, Transform] | None = None,
    ) -> None:
        self.shards, self.rows, self.seed, self.shuffle = shards, list(rows), seed, shuffle
        self.batch_size, self.rank, self.world = batch_size, rank, world
        self.denoise_batch = denoise_batch or batch_size
        self.cached, self.transforms = dict(cached or {}), dict(transforms or {})
        self._arrays: dict[str, np.ndarray] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_arrays": {}}  # a loader process maps the files itself

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def positions(self, step: int) -> list[int]:
        """This process's share of a step's positions, a contiguous block so that ranks concatenate in order."""
        share = self.batch_size // self.world
        first = step * self.batch_size + self.rank * share
        last = first + share
        return list(range(first, last if self.shuffle else min(last, len(self.rows))))

    def __getitem__(self, step: int) -> Batch:
        positions = self.positions(step)
        count = len(self.rows)
        indices = [order(count, self.seed, p) if self.shuffle else p for p in positions]
        rows = [self.rows[i] for i in indices]
        captions = [
            _caption(row, self.seed, p if self.shuffle else 0) for row, p in zip(rows, positions, strict=True)
        ]
        if not self._arrays:
            self._arrays = {name: np.load(path, mmap_mode="r") for name, path in self.cached.items()}
        drawn = (
            None
            if self.denoise_batch == self.batch_size
            else spread(positions, self.denoise_batch, self.batch_size)
        )
        some = dict.fromkeys(("latents", "draw_pixels"), drawn)
        tensors: dict[str, Any] = {
            k: torch.from_numpy(v[_of(indices, some.get(k))]) for k, v in self._arrays.items()
        }
        if self.transforms:
            pictures = [picture(self.shards, row) for row in rows]
            tensors |= {k: transform(_of(pictures, some.get(k))) for k, transform in self.transforms.items()}
        return Batch(
            step, positions, rows, captions,
            caption_ids=torch.tensor([_identity(c) for c in captions]),
            group_ids=torch.tensor([_identity(r.group) for r in rows]),
            drawn=drawn,
            **tensors,
        )  # fmt: skip


def spread(positions: Sequence[int], some: int, of: int) -> list[int]:
    """The indices of `some` of every `of` positions, evenly spread: any number of processes takes the same samples."""
    return [i for i, p in enumerate(positions) if (p % of + 1) * some // of > p % of * some // of]


def _of(values: list[Any], drawn: list[int] | None) -> list[Any]:
    return values if drawn is None else [values[i] for i in drawn]


def _caption(row: Row, seed: int, position: int) -> str:
    """One of a row's captions, chosen by the position; the first where there is no choice."""
    if len(row.captions) == 1 or position == 0:
        return row.captions[0]
    return row.captions[crc32(f"{seed}/{position}".encode()) % len(row.captions)]


def _deaf(worker: int) -> None:
    """A loader process leaves signals to the one that trains, which stops it after the checkpoint is saved."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)


def _only(batches: list[Batch]) -> Batch:
    return batches[0]


def loader(samples: Samples, steps: range, workers: int = 0) -> Iterator[Batch]:
    """The batches of the given steps, in order, decoded ahead by `workers` processes."""
    return iter(
        DataLoader(
            samples,
            sampler=steps,
            batch_size=1,
            collate_fn=_only,
            num_workers=workers,
            worker_init_fn=_deaf,
            prefetch_factor=4 if workers else None,
            multiprocessing_context="spawn" if workers else None,
        )  # fmt: skip
    )
