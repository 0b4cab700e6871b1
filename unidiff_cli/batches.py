"""Batches: which samples make step k, and their pictures as tensors.

The order is a pure function of (seed, epoch) and a step's samples one of its number, so a run that resumes
at step k reads what an uninterrupted one would, at no cost, on any number of processes and workers.
"""

from __future__ import annotations

import io
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .captions import fold
from .errors import EnvironmentProblem
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
    frozen_image_embeds: Tensor | None = None  # (B, D) unit, by the base's CLIP as it was
    drawn: list[int] | None = (
        None  # the b rows that the UNet sees, whose latents or draw_pixels these are; None: all B
    )
    ranks: list[int] | None = (
        None  # the b rows' numbers among all that UNets see in the run; None: their positions
    )
    prior: Batch | None = (
        None  # general captions and the base's own pictures of them; None where none falls to this process
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


class Apart:
    """An order like `order` in which a batch holds no two samples of one group or with one caption, as far as they allow.

    Still a pure function of (seed, epoch), and every sample once an epoch. Where a group or a caption has more samples
    than an epoch has batches, they are spread over the batches as evenly as they can be. Groups first and the largest
    first, each sample goes to the emptiest of the batches that hold fewest of its like (for groups alone this finds an
    arrangement whenever there is one, by Gale and Ryser's theorem), moving one other where all those are full; samples without
    their like fill the rest at random. So what it finds for groups and captions together is near the best, not always it.
    """

    def __init__(self, rows: Sequence[Row], batch_size: int, seed: int) -> None:
        self.count, self.batch_size, self.seed = len(rows), batch_size, seed
        groups = Counter(row.group for row in rows)
        told = [{_identity(caption) for caption in row.captions} for row in rows]
        captions = Counter(caption for own in told for caption in own)
        self.groups = [row.group for row in rows]
        self.captions = [[c for c in own if captions[c] > 1] for own in told]
        self.mates = [groups[row.group] for row in rows]
        # What a sample's like amount to; 1 is a sample that goes anywhere.
        self.like = [
            max([groups[row.group], *(captions[c] for c in own)])
            for row, own in zip(rows, self.captions, strict=True)
        ]
        self._epochs: dict[int, list[int]] = {}

    def __call__(self, position: int) -> int:
        """The sample at a position of the endless stream."""
        epoch, offset = divmod(position, self.count)
        if epoch not in self._epochs:
            while len(self._epochs) > 3:
                self._epochs.pop(next(iter(self._epochs)))
            self._epochs[epoch] = self._arranged(epoch)
        return self._epochs[epoch][offset]

    def _arranged(self, epoch: int) -> list[int]:
        """One epoch's order. Its first batch may be the last of the epoch before, whose end does not depend on its start."""
        first, last = epoch * self.count, (epoch + 1) * self.count
        edges = [first, *range((first // self.batch_size + 1) * self.batch_size, last, self.batch_size), last]
        free = np.diff(edges)  # (batches,), the places left in each
        batches: list[list[int]] = [[] for _ in free]
        where: dict[Any, list[int]] = {}  # group or caption -> the batches that hold one, with repeats

        def put(sample: int, batch: int) -> None:
            batches[batch].append(sample)
            free[batch] -= 1
            note(sample, batch)

        def take(sample: int, batch: int) -> None:
            batches[batch].remove(sample)
            free[batch] += 1
            for mark in self._marks(sample):
                where[mark].remove(batch)

        def alike(sample: int) -> np.ndarray:
            """How many of its like each batch holds, (batches,)."""
            counts = [np.bincount(where.get(mark, []), minlength=len(free)) for mark in self._marks(sample)]
            return np.sum(counts, axis=0)

        def note(sample: int, batch: int) -> None:
            for mark in self._marks(sample):
                where.setdefault(mark, []).append(batch)

        before = self._end(epoch - 1) if first % self.batch_size else []
        for sample in before:
            note(sample, 0)
        end = self._end(epoch)
        fixed = set(end)
        for sample in end:
            put(sample, len(batches) - 1)
        random = np.random.default_rng([self.seed, epoch, 1])
        tie = dict(zip(dict.fromkeys(self.groups), random.permutation(self.count), strict=False))
        rest = sorted(
            set(range(self.count)) - fixed,
            key=lambda i: (-self.mates[i], tie[self.groups[i]], -self.like[i]),
        )
        alone = [i for i in rest if self.like[i] == 1 and i not in before]
        for sample in (i for i in rest if self.like[i] > 1 or i in before):
            like = alike(sample)
            if free @ (like == 0) == 0:  # full wherever it could go: let another make room, if one can
                for batch in np.flatnonzero(like == 0):
                    open_to = ((o, (free > 0) & (alike(o) == 0)) for o in batches[batch] if o not in fixed)
                    if found := next(((o, np.flatnonzero(to)) for o, to in open_to if to.any()), None):
                        take(found[0], int(batch))
                        put(found[0], int(found[1][0]))
                        break
            like = np.where(free > 0, like, np.iinfo(np.int64).max)
            best = np.flatnonzero(like == like.min())
            best = best[free[best] == free[best].max()]
            put(sample, int(random.choice(best)))
        gaps = np.repeat(np.arange(len(free)), free)
        for sample, batch in zip(random.permutation(alone), gaps, strict=True):
            batches[batch].append(int(sample))
        return [batch[i] for batch in batches for i in random.permutation(len(batch))]

    def _end(self, epoch: int) -> list[int]:
        """What an epoch leaves in a batch that the next one fills: of a permutation the first that are not alike."""
        size = (epoch + 1) * self.count % self.batch_size
        taken: list[int] = []
        if size > self.count:  # a batch of several epochs repeats samples anyway
            return taken
        seen: set[Any] = set()
        again: list[int] = []
        for sample in map(int, np.random.default_rng([self.seed, epoch, 2]).permutation(self.count)):
            if len(taken) == size:
                break
            marks = set(self._marks(sample))
            (again if marks & seen else taken).append(sample)
            seen |= marks
        return (taken + again)[:size]

    def _marks(self, sample: int) -> list[Any]:
        return [self.groups[sample], *self.captions[sample]]


def _identity(text: str) -> int:
    """A number equal for texts that differ in case and blanks only."""
    same = fold(text).casefold()
    return crc32(same.encode()) | (len(same) << 32)


@dataclass
class General:
    """A second stream beside a catalogue's: general captions and the latents of the base's own pictures of them.

    One for every `every` samples that the UNet sees, each a pure function of the sample's number among those, shuffled
    anew whenever all were seen.
    """

    captions: list[str]  # of each picture
    files: list[Path]  # .npy, together one row (2c, h, w) a picture
    every: int
    seed: int

    @cached_property
    def latents(self) -> np.ndarray:
        """(n, 2c, h, w), of each caption. Raises EnvironmentProblem where the files hold another number."""
        found = np.concatenate([np.load(file) for file in self.files])
        if len(found) != len(self.captions):
            raise EnvironmentProblem(
                f"{self.files[0].parent} holds {len(found):,} pictures of the prior's {len(self.captions):,} captions.",
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
        indices = [order(len(self.captions), self.seed, number) for number in numbers]
        captions = [self.captions[i] for i in indices]
        ids = torch.tensor([_identity(c) for c in captions])
        # Positions below zero: no draw of theirs is one of the catalogue's.
        negative = [-1 - number for number in numbers]
        return Batch(step, negative, [], captions, ids, ids, latents=torch.from_numpy(self.latents[indices]))


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
        no_duplicates: bool = False,
        prior: General | None = None,
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
        self._apart = Apart(self.rows, batch_size, seed) if no_duplicates and shuffle else None

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
        return self._apart(position) if self._apart else order(len(self.rows), self.seed, position)

    def __getitem__(self, step: int) -> Batch:
        positions = self.positions(step)
        indices = [self._at(p) if self.shuffle else p for p in positions]
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
        ranks = (
            None
            if drawn is None
            else [rank(positions[i], self.denoise_batch, self.batch_size) for i in drawn]
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
            prior=self.prior.batch(step, positions if ranks is None else ranks) if self.prior else None,
            drawn=drawn,
            ranks=ranks,
            **tensors,
        )  # fmt: skip


def spread(positions: Sequence[int], some: int, of: int) -> list[int]:
    """The indices of `some` of every `of` positions, evenly spread: any number of processes takes the same samples."""
    return [i for i, p in enumerate(positions) if (p % of + 1) * some // of > p % of * some // of]


def rank(position: int, some: int, of: int) -> int:
    """How many samples before this one of the stream are among the `some` of every `of` that `spread` takes."""
    return position // of * some + position % of * some // of


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
