"""Batches: which samples make step k, and their images as tensors.

The order is a pure function of (seed, epoch) and a step's samples one of its number, so a run that resumes
at step k reads what an uninterrupted one would, at no cost, on any number of processes and workers.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from unidiff_cli.data.batch import Batch, Transform, open_image
from unidiff_cli.data.order import (
    DistinctOrder,
    shuffled_index,
    subsample,
    subsample_position,
    text_id,
)
from unidiff_cli.data.shards import Row, Shards
from unidiff_cli.errors import EnvironmentProblem


@dataclass
class PriorDataset:
    """A second stream beside a catalogue's: general captions and the latents of the base's own images of them.

    One for every `every` samples that the UNet sees, each a pure function of the sample's number among those, shuffled
    anew whenever all were seen.
    """

    captions: list[str]  # of each image
    files: list[Path]  # .npy, together one row (2c, h, w) an image
    every: int
    seed: int

    @cached_property
    def latents(self) -> np.ndarray:
        """(n, 2c, h, w), of each caption. Raises EnvironmentProblem where the files hold another number."""
        found = np.concatenate([np.load(file) for file in self.files])
        if len(found) != len(self.captions):
            raise EnvironmentProblem(
                f"{self.files[0].parent} holds {len(found):,} images of the prior's {len(self.captions):,} captions.",
                "Delete that folder; the next run draws them again.",
            )
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "latents"}

    def batch(self, step: int, ranks: list[int]) -> Batch | None:
        """Those that fall to these of the samples that the UNet sees, by their numbers in the run."""
        numbers = [r // self.every for r in ranks if r % self.every == 0]
        if not numbers:
            return None
        indices = [shuffled_index(len(self.captions), self.seed, number) for number in numbers]
        captions = [self.captions[i] for i in indices]
        ids = torch.tensor([text_id(c) for c in captions])
        # Positions below zero: no draw of theirs is one of the catalogue's.
        negative = [-1 - number for number in numbers]
        return Batch(
            step, negative, [], captions, ids, ids, latents=torch.from_numpy(self.latents[indices])
        )


class Samples(Dataset[Batch]):
    """Step number → Batch. Images come from `cached` .npy files (one row a sample) or are decoded and transformed."""

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
        no_duplicates: bool = False,
        prior: PriorDataset | None = None,
        denoise_batch: int = 0,
        cached: Mapping[str, Path] | None = None,
        transforms: Mapping[str, Transform] | None = None,
    ) -> None:
        self.shards, self.rows, self.seed, self.shuffle = shards, list(rows), seed, shuffle
        self.batch_size, self.rank, self.world = batch_size, rank, world
        self.denoise_batch = denoise_batch or batch_size
        self.cached, self.transforms = dict(cached or {}), dict(transforms or {})
        self.prior = prior
        self._arrays: dict[str, np.ndarray] = {}
        self._apart = (
            DistinctOrder(self.rows, batch_size, seed) if no_duplicates and shuffle else None
        )

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

    def _at(self, position: int) -> int:
        return (
            self._apart(position)
            if self._apart
            else shuffled_index(len(self.rows), self.seed, position)
        )

    def __getitem__(self, step: int) -> Batch:
        positions = self.positions(step)
        indices = [self._at(p) if self.shuffle else p for p in positions]
        rows = [self.rows[i] for i in indices]
        captions = [
            _caption(row, self.seed, p if self.shuffle else 0)
            for row, p in zip(rows, positions, strict=True)
        ]
        if not self._arrays:
            self._arrays = {
                name: np.load(path, mmap_mode="r") for name, path in self.cached.items()
            }
        drawn = (
            None
            if self.denoise_batch == self.batch_size
            else subsample(positions, self.denoise_batch, self.batch_size)
        )
        ranks = (
            None
            if drawn is None
            else [
                subsample_position(positions[i], self.denoise_batch, self.batch_size) for i in drawn
            ]
        )
        some = dict.fromkeys(("latents", "diffusion_pixels"), drawn)
        tensors: dict[str, Any] = {
            k: torch.from_numpy(v[_of(indices, some.get(k))]) for k, v in self._arrays.items()
        }
        if self.transforms:
            images = [open_image(self.shards, row) for row in rows]
            tensors |= {
                k: transform(_of(images, some.get(k))) for k, transform in self.transforms.items()
            }
        return Batch(
            step, positions, rows, captions,
            caption_ids=torch.tensor([text_id(c) for c in captions]),
            group_ids=torch.tensor([text_id(r.group) for r in rows]),
            prior=self.prior.batch(step, positions if ranks is None else ranks) if self.prior else None,
            drawn=drawn,
            ranks=ranks,
            **tensors,
        )  # fmt: skip


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
