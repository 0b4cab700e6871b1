"""Keeps duplicates out of a batch: an order in which like samples stand in different batches."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from unidiff_cli.data.captions import same_text
from unidiff_cli.data.order import EpochOrder, text_id
from unidiff_cli.data.row import Row
from unidiff_cli.data.rows import column_of

# Samples of a mark from which on its batches are kept as bits, too.
MANY = 16


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

        tie = random.permutation(self.count)[marks.groups]
        rest = np.lexsort((-marks.like, tie, -marks.mates))
        rest = rest[~np.isin(rest, end)]
        alone = (marks.like[rest] == 1) & ~np.isin(rest, before)
        for sample in rest[~alone].tolist():
            batches.place(sample, random)
        batches.fill(random.permutation(rest[alone]))
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
        seen: set[int] = set()
        repeated: list[int] = []
        order = np.random.default_rng([self.seed, epoch, 2]).permutation(self.count)
        for sample in map(int, order):
            if len(distinct) == size:
                break
            marks = set(self.marks.of(sample))
            (repeated if marks & seen else distinct).append(sample)
            seen |= marks
        return (distinct + repeated)[:size]


class Marks:
    """What should not repeat within a batch: each sample's group, and captions others have too.

    A mark is a number: that of a group, or after all groups that of a caption.
    """

    def __init__(self, rows: Sequence[Row], same: Callable[[str], str] = same_text) -> None:
        groups: dict[str, int] = {}
        codes = (groups.setdefault(group, len(groups)) for group in column_of(rows, "group"))
        # (n,) the first group is 0.
        self.groups = np.fromiter(codes, np.int32)
        texts: dict[int, int] = {}
        own, ends = array("i"), array("q", [0])
        for captions in column_of(rows, "captions"):
            ids = {text_id(caption, same) for caption in captions}
            own.extend(texts.setdefault(text, len(texts)) for text in ids)
            ends.append(len(own))
        captions_of, counts = np.array(own, np.int32), np.diff(ends)
        uses = np.bincount(captions_of, minlength=len(texts))
        # (n,) how many samples a sample's group has.
        self.mates = np.bincount(self.groups)[self.groups].astype(np.int32)
        # (n,) the most samples that one of its marks has; a sample with 1 goes anywhere.
        self.like = self.mates.copy()
        samples = np.repeat(np.arange(len(counts)), counts)
        np.maximum.at(self.like, samples, uses[captions_of].astype(np.int32))
        # Those of each sample, one sample's after another's, and where each sample's begin.
        shared = uses[captions_of] > 1
        self._captions = captions_of[shared] + np.int32(len(groups))
        shared_of = np.bincount(samples[shared], minlength=len(counts))
        self._starts = np.concatenate([[0], np.cumsum(shared_of)])

    def of(self, sample: int) -> list[int]:
        """The marks of a sample, its group first."""
        captions = self._captions[self._starts[sample] : self._starts[sample + 1]]
        return [int(self.groups[sample]), *captions.tolist()]


class EpochBatches:
    """The batches of one epoch while they are filled.

    A set of batches is a whole number here, whose bit b says whether batch b is in it: its size, or
    what two have in common, takes a microsecond for tens of thousands of batches.
    """

    def __init__(self, sizes: np.ndarray, marks: Marks) -> None:
        # (batches,) the places that each has left.
        self.free = np.array(sizes)
        self.marks = marks
        self.batches: list[list[int]] = [[] for _ in sizes]
        self.fixed: set[int] = set()
        # Places left, none at 0, -> the batches that have so many.
        self._levels = {int(n): _set_of(np.flatnonzero(sizes == n)) for n in np.unique(sizes)}
        self._most = int(max(sizes))
        # Mark -> the batches that hold one of it, with repeats; and of those with many, their set.
        self._holders: dict[int, array[int]] = {}
        self._sets: dict[int, int] = {}

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
        best = self._emptiest(sample)
        if not best and self._make_room(sample):
            best = self._emptiest(sample)
        best = best or self._least_alike(sample)
        self._put(sample, _nth(best, int(random.integers(best.bit_count()))))

    def fill(self, samples: Iterable[int]) -> None:
        """Puts samples that go anywhere into the places left, one each."""
        gaps = np.repeat(np.arange(len(self.free)), self.free)
        for sample, batch in zip(samples, gaps, strict=True):
            self.batches[batch].append(int(sample))

    def shuffled(self, random: np.random.Generator) -> list[int]:
        """All samples, batch by batch, each batch in a random order."""
        return [batch[i] for batch in self.batches for i in random.permutation(len(batch))]

    def _emptiest(self, sample: int) -> int:
        """The emptiest of the batches with places that hold none of a sample's like, as a set."""
        marks = self.marks.of(sample)
        for free in range(self._most, 0, -1):
            if level := self._levels.get(free):
                if apart := self._apart(level, marks):
                    return apart
        return 0

    def _apart(self, batches: int, marks: Iterable[int]) -> int:
        """Those of a set of batches that hold none of some marks."""
        for mark in marks:
            if mark in self._sets:
                batches &= ~self._sets[mark]
            else:
                for batch in self._holders.get(mark, ()):
                    if batches >> batch & 1:
                        batches ^= 1 << batch
        return batches

    def _make_room(self, sample: int) -> bool:
        """Moves one sample out of a full batch without like ones, if one can go elsewhere."""
        places = 0
        for free, level in self._levels.items():
            places |= level if free else 0
        for batch in np.flatnonzero(self._alike(sample) == 0).tolist():
            for other in self.batches[batch]:
                if other in self.fixed:
                    continue
                if open_to := self._apart(places, self.marks.of(other)):
                    self._take(other, batch)
                    self._put(other, _nth(open_to, 0))
                    return True
        return False

    def _least_alike(self, sample: int) -> int:
        """The emptiest of the batches with places that hold fewest of its like, as a set."""
        alike = np.where(self.free > 0, self._alike(sample), np.iinfo(np.int64).max)
        best = np.flatnonzero(alike == alike.min())
        return _set_of(best[self.free[best] == self.free[best].max()])

    def _alike(self, sample: int) -> np.ndarray:
        """How many of a sample's like each batch holds, (batches,)."""
        counts = np.zeros(len(self.free), np.int64)
        for mark in self.marks.of(sample):
            if holders := self._holders.get(mark):
                counts += np.bincount(np.frombuffer(holders, np.int32), minlength=len(counts))
        return counts

    def _put(self, sample: int, batch: int) -> None:
        self.batches[batch].append(sample)
        self._move(batch, -1)
        self._note(sample, batch)

    def _take(self, sample: int, batch: int) -> None:
        self.batches[batch].remove(sample)
        self._move(batch, 1)
        for mark in self.marks.of(sample):
            holders = self._holders[mark]
            holders.remove(batch)
            if mark in self._sets and batch not in holders:
                self._sets[mark] ^= 1 << batch

    def _move(self, batch: int, places: int) -> None:
        """Notes that a batch has more places left, or fewer."""
        bit, free = 1 << batch, int(self.free[batch])
        self.free[batch] = free + places
        self._levels[free] ^= bit
        self._levels[free + places] = self._levels.get(free + places, 0) ^ bit
        self._most = max(self._most, free + places)
        while self._most and not self._levels.get(self._most):
            self._most -= 1

    def _note(self, sample: int, batch: int) -> None:
        for mark in self.marks.of(sample):
            holders = self._holders.setdefault(mark, array("i"))
            holders.append(batch)
            if len(holders) == MANY:
                self._sets[mark] = _set_of(np.unique(holders))
            elif len(holders) > MANY:
                self._sets[mark] |= 1 << batch


def _set_of(batches: np.ndarray) -> int:
    """A set of batches, by their numbers."""
    bits = np.zeros(int(batches.max(initial=-1)) + 1, bool)
    bits[batches] = True
    return int.from_bytes(np.packbits(bits, bitorder="little").tobytes(), "little")


def _nth(batches: int, number: int) -> int:
    """The batch of a set before which there are so many others in it."""
    first, width = 0, 1 << max(0, batches.bit_length() - 1).bit_length()
    while width > 1:
        width >>= 1
        lower = batches & ((1 << width) - 1)
        if number < (count := lower.bit_count()):
            batches = lower
        else:
            batches, number, first = batches >> width, number - count, first + width
    return first
