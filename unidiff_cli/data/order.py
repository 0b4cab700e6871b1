"""TODO docstring."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any
from zlib import crc32

import numpy as np

from unidiff_cli.data.captions import fold
from unidiff_cli.data.shards import Row


def shuffled_index(count: int, seed: int, position: int) -> int:
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


class DistinctOrder:
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
        told = [{text_id(caption) for caption in row.captions} for row in rows]
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
        edges = [
            first,
            *range((first // self.batch_size + 1) * self.batch_size, last, self.batch_size),
            last,
        ]
        free = np.diff(edges)  # (batches,), the places left in each
        batches: list[list[int]] = [[] for _ in free]
        where: dict[
            Any, list[int]
        ] = {}  # group or caption -> the batches that hold one, with repeats

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
            counts = [
                np.bincount(where.get(mark, []), minlength=len(free))
                for mark in self._marks(sample)
            ]
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
            if (
                free @ (like == 0) == 0
            ):  # full wherever it could go: let another make room, if one can
                for batch in np.flatnonzero(like == 0):
                    open_to = (
                        (o, (free > 0) & (alike(o) == 0)) for o in batches[batch] if o not in fixed
                    )
                    if found := next(
                        ((o, np.flatnonzero(to)) for o, to in open_to if to.any()), None
                    ):
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
        for sample in map(
            int, np.random.default_rng([self.seed, epoch, 2]).permutation(self.count)
        ):
            if len(taken) == size:
                break
            marks = set(self._marks(sample))
            (again if marks & seen else taken).append(sample)
            seen |= marks
        return (taken + again)[:size]

    def _marks(self, sample: int) -> list[Any]:
        return [self.groups[sample], *self.captions[sample]]


def text_id(text: str) -> int:
    """A number equal for texts that differ in case and blanks only."""
    same = fold(text).casefold()
    return crc32(same.encode()) | (len(same) << 32)


def subsample(positions: Sequence[int], some: int, of: int) -> list[int]:
    """The indices of `some` of every `of` positions, evenly spread: any number of processes takes the same samples."""
    return [i for i, p in enumerate(positions) if (p % of + 1) * some // of > p % of * some // of]


def subsample_position(position: int, some: int, of: int) -> int:
    """How many samples before this one of the stream are among the `some` of every `of` that `spread` takes."""
    return position // of * some + position % of * some // of
