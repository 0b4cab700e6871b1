"""Says which sample stands at which position of a run, and keeps duplicates out of a batch.

A run reads an endless stream of positions; step k reads positions k·B … (k+1)·B − 1. Each order
here is a pure function of (seed, position), so that a run which resumes at step k reads what an
uninterrupted one would, at no cost, with any number of processes and workers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import lru_cache
from zlib import crc32

import numpy as np

from unidiff_cli.data.captions import same_text
from unidiff_cli.data.shards import Row

# Epochs kept in memory: a batch spans two at most.
RECENT = 4


def shuffled_index(count: int, seed: int, position: int) -> int:
    """The sample at a position of the shuffled stream: a new permutation of all each epoch."""
    epoch, offset = divmod(position, count)
    return int(_permutation(count, seed, epoch)[offset])


@lru_cache(maxsize=RECENT)
def _permutation(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(count)


def subsample(positions: Sequence[int], part: int, whole: int) -> list[int]:
    """The indices of `part` of every `whole` positions, evenly spread.

    Any number of processes takes the same samples.
    """
    return [
        index
        for index, p in enumerate(positions)
        if (p % whole + 1) * part // whole > p % whole * part // whole
    ]


def subsample_position(position: int, part: int, whole: int) -> int:
    """How many samples of the stream before this one are among those that `subsample` takes."""
    return position // whole * part + position % whole * part // whole


def text_id(text: str, same: Callable[[str], str] = same_text) -> int:
    """A number that is equal for equal captions; `same` gives what these have in common."""
    text = same(text)
    return crc32(text.encode()) | (len(text) << 32)


class EpochOrder(ABC):
    """An order that arranges each epoch by itself: a pure function of (seed, epoch)."""

    def __init__(self, count: int, seed: int) -> None:
        """`count` places make an epoch."""
        self.count, self.seed = count, seed
        self._epochs: dict[int, list[int]] = {}

    def __call__(self, position: int) -> int:
        """The sample at a position of the endless stream."""
        epoch, offset = divmod(position, self.count)
        if epoch not in self._epochs:
            while len(self._epochs) >= RECENT:
                self._epochs.pop(next(iter(self._epochs)))
            self._epochs[epoch] = self._arranged(epoch)
        return self._epochs[epoch][offset]

    @abstractmethod
    def _arranged(self, epoch: int) -> list[int]:
        """The samples of an epoch, in order."""


class DistinctOrder(EpochOrder):
    """An order in which a batch holds no two samples of one group or with one caption.

    It is a pure function of (seed, epoch), and every sample comes once an epoch. Where a group or a
    caption has more samples than an epoch has batches, they are spread as evenly as they can be.

    Groups come first, the largest first. Each sample goes to the emptiest of the batches that hold
    fewest of its like; where all those are full, one of their samples moves. For groups alone this
    finds an arrangement whenever there is one (theorem of Gale and Ryser); for groups and captions
    together it is near the best, not always the best. Samples without their like fill the rest.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        batch_size: int,
        seed: int,
        same: Callable[[str], str] = same_text,
    ) -> None:
        super().__init__(len(rows), seed)
        self.batch_size, self.marks = batch_size, Marks(rows, same)

    def _arranged(self, epoch: int) -> list[int]:
        """One epoch's samples, in order.

        Its first batch may be the last one of the epoch before, whose end `_end` fixes beforehand.
        """
        marks, random = self.marks, np.random.default_rng([self.seed, epoch, 1])
        batches = EpochBatches(self._sizes(epoch), marks)
        before = self._end(epoch - 1) if epoch * self.count % self.batch_size else []
        batches.share_first(before)
        end = self._end(epoch)
        batches.fix_last(end)

        groups = list(dict.fromkeys(marks.groups))
        tie = dict(zip(groups, random.permutation(self.count), strict=False))
        rest = sorted(
            set(range(self.count)) - set(end),
            key=lambda i: (-marks.mates[i], tie[marks.groups[i]], -marks.like[i]),
        )
        for sample in (i for i in rest if marks.like[i] > 1 or i in before):
            batches.place(sample, random)
        alone = [i for i in rest if marks.like[i] == 1 and i not in before]
        batches.fill(random.permutation(alone))
        return batches.shuffled(random)

    def _sizes(self, epoch: int) -> np.ndarray:
        """How many of this epoch's samples each of its batches takes, (batches,)."""
        first, last = epoch * self.count, (epoch + 1) * self.count
        next_batch = (first // self.batch_size + 1) * self.batch_size
        return np.diff([first, *range(next_batch, last, self.batch_size), last])

    def _end(self, epoch: int) -> list[int]:
        """What an epoch leaves in a batch that the next one fills.

        Of a permutation, those that come first and are not alike.
        """
        size = (epoch + 1) * self.count % self.batch_size
        distinct: list[int] = []
        # A batch of several epochs repeats samples anyway.
        if size > self.count:
            return distinct
        seen: set[Hashable] = set()
        repeated: list[int] = []
        order = np.random.default_rng([self.seed, epoch, 2]).permutation(self.count)
        for sample in map(int, order):
            if len(distinct) == size:
                break
            marks = set(self.marks.of(sample))
            (repeated if marks & seen else distinct).append(sample)
            seen |= marks
        return (distinct + repeated)[:size]


class PairedOrder(EpochOrder):
    """An order in which samples of one group come in pairs, at positions 2k and 2k + 1.

    It is a pure function of (seed, epoch), and every sample comes once an epoch, or twice: one
    sample more where they are odd in number. What is left of a group goes in pairs of two groups.
    """

    def __init__(self, groups: Sequence[Hashable], seed: int) -> None:
        self.groups = list(groups)
        super().__init__(len(self.groups) + len(self.groups) % 2, seed)

    def _arranged(self, epoch: int) -> list[int]:
        random = np.random.default_rng([self.seed, epoch, 3])
        samples = random.permutation(len(self.groups)).tolist()
        pairs = paired(samples, [self.groups], random)
        return [sample for k in random.permutation(len(pairs)) for sample in pairs[k]]


def paired(
    samples: Sequence[int], labels: Sequence[Sequence[Hashable]], random: np.random.Generator
) -> list[list[int]]:
    """All n samples, given in any order, in pairs: of one label as far as they can be.

    `labels` has one or several labels of each sample, the first first. What is left at the end goes
    in pairs as it comes, with one sample more where they are odd in number.
    """
    pairs: list[list[int]] = []
    left = list(samples)
    for label in labels:
        members: dict[Hashable, list[int]] = {}
        for sample in left:
            members.setdefault(label[sample], []).append(sample)
        pairs += [m[i : i + 2] for m in members.values() for i in range(0, len(m) - 1, 2)]
        left = [m[-1] for m in members.values() if len(m) % 2]
    if len(left) % 2:
        left.append(int(random.integers(len(samples))))
    return pairs + [left[i : i + 2] for i in range(0, len(left), 2)]


class Marks:
    """What should not repeat within a batch: each sample's group, and captions others have too."""

    def __init__(self, rows: Sequence[Row], same: Callable[[str], str] = same_text) -> None:
        texts = [{text_id(caption, same) for caption in row.captions} for row in rows]
        uses = Counter(text for ids in texts for text in ids)
        sizes = Counter(row.group for row in rows)
        self.groups = [row.group for row in rows]
        self.captions = [[text for text in ids if uses[text] > 1] for ids in texts]
        # How many samples a sample's group has.
        self.mates = [sizes[group] for group in self.groups]
        # The most samples that one of its marks has; a sample with 1 goes anywhere.
        self.like = [
            max([size, *(uses[text] for text in ids)])
            for size, ids in zip(self.mates, texts, strict=True)
        ]

    def of(self, sample: int) -> list[Hashable]:
        return [self.groups[sample], *self.captions[sample]]


class EpochBatches:
    """The batches of one epoch while they are filled."""

    def __init__(self, sizes: np.ndarray, marks: Marks) -> None:
        # (batches,) the places that each has left.
        self.free = np.array(sizes)
        self.marks = marks
        self.batches: list[list[int]] = [[] for _ in sizes]
        self.fixed: set[int] = set()
        # Mark -> the batches that hold one of it, with repeats.
        self._holders: dict[Hashable, list[int]] = {}

    def share_first(self, samples: Iterable[int]) -> None:
        """Counts samples of the epoch before, which stand in the first batch already."""
        for sample in samples:
            self._note(sample, 0)

    def fix_last(self, samples: Iterable[int]) -> None:
        """Puts samples into the last batch, never to be moved."""
        for sample in samples:
            self._put(sample, len(self.batches) - 1)
            self.fixed.add(sample)

    def place(self, sample: int, random: np.random.Generator) -> None:
        """Puts a sample into the emptiest of the batches that hold fewest of its like."""
        alike = self._alike(sample)
        if self.free @ (alike == 0) == 0:
            self._make_room(alike)
        alike = np.where(self.free > 0, alike, np.iinfo(np.int64).max)
        best = np.flatnonzero(alike == alike.min())
        best = best[self.free[best] == self.free[best].max()]
        self._put(sample, int(random.choice(best)))

    def fill(self, samples: Iterable[int]) -> None:
        """Puts samples that go anywhere into the places left, one each."""
        gaps = np.repeat(np.arange(len(self.free)), self.free)
        for sample, batch in zip(samples, gaps, strict=True):
            self.batches[batch].append(int(sample))

    def shuffled(self, random: np.random.Generator) -> list[int]:
        """All samples, batch by batch, each batch in a random order."""
        return [batch[i] for batch in self.batches for i in random.permutation(len(batch))]

    def _make_room(self, alike: np.ndarray) -> None:
        """Moves one sample out of a full batch without like ones, if one can go elsewhere."""
        for batch in np.flatnonzero(alike == 0):
            for other in self.batches[batch]:
                if other in self.fixed:
                    continue
                open_to = np.flatnonzero((self.free > 0) & (self._alike(other) == 0))
                if len(open_to):
                    self._take(other, int(batch))
                    self._put(other, int(open_to[0]))
                    return

    def _alike(self, sample: int) -> np.ndarray:
        """How many of a sample's like each batch holds, (batches,)."""
        counts = [
            np.bincount(self._holders.get(mark, []), minlength=len(self.free))
            for mark in self.marks.of(sample)
        ]
        return np.sum(counts, axis=0)

    def _put(self, sample: int, batch: int) -> None:
        self.batches[batch].append(sample)
        self.free[batch] -= 1
        self._note(sample, batch)

    def _take(self, sample: int, batch: int) -> None:
        self.batches[batch].remove(sample)
        self.free[batch] += 1
        for mark in self.marks.of(sample):
            self._holders[mark].remove(batch)

    def _note(self, sample: int, batch: int) -> None:
        for mark in self.marks.of(sample):
            self._holders.setdefault(mark, []).append(batch)
