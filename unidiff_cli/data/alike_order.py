"""Hard batches: an order in which samples that are alike come in blocks of a batch.

What the samples of a block have in common, such as their colour, tells none of them from another,
so an in-batch loss has to find something else. NegCLIP (arXiv 2210.01936) puts the nearest images
into one batch for the same reason.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from unidiff_cli.data.order import EpochOrder, paired


def block_size(batch_size: int, share: float, views: bool = False) -> int:
    """The samples of a block that is a share of a batch; with views, whole pairs of them."""
    unit = 2 if views else 1
    return max(unit, round(share * batch_size / unit) * unit)


class AlikeOrder(EpochOrder):
    """An order in which a batch is divided into blocks, each of samples with one key.

    It is a pure function of (seed, epoch), and every sample comes once an epoch. A batch begins
    with a whole block, and its last block is shorter where blocks do not divide it. The samples of
    a key that fill no block stand in mixed ones, of as few keys as can be.

    With `groups` samples of a group come in pairs, as in `PairedOrder`: of one key where there are
    such, else of two keys, of which the first sample's decides. Then an epoch has one sample more
    where they are odd in number.
    """

    def __init__(
        self,
        keys: Sequence[Hashable],
        batch_size: int,
        block: int,
        seed: int,
        groups: Sequence[Hashable] | None = None,
    ) -> None:
        self.keys, self.batch_size, self.block = list(keys), batch_size, block
        self.groups = None if groups is None else list(groups)
        # Samples that stay together.
        self.unit = 1 if groups is None else 2
        super().__init__(-(-len(self.keys) // self.unit) * self.unit, seed)

    def _arranged(self, epoch: int) -> list[int]:
        random = np.random.default_rng([self.seed, epoch, 4])
        waiting: dict[Hashable, list[list[int]]] = {}
        for unit in self._units(random):
            waiting.setdefault(self.keys[unit[0]], []).append(unit)
        sizes = self._sizes(epoch)
        blocks: list[list[list[int]]] = [[] for _ in sizes]
        # In a random order, so that the mixed blocks at its end lie anywhere.
        for place in random.permutation(len(sizes)):
            blocks[place] = _taken(waiting, int(sizes[place]), random)
        return [sample for block in blocks for unit in block for sample in unit]

    def _units(self, random: np.random.Generator) -> Iterable[list[int]]:
        """All samples in a random order, each alone or in a pair."""
        samples = random.permutation(len(self.keys)).tolist()
        if self.groups is None:
            return [[sample] for sample in samples]
        both = list(zip(self.groups, self.keys, strict=True))
        pairs = paired(samples, [both, self.groups, self.keys], random)
        return [pairs[k] for k in random.permutation(len(pairs))]

    def _sizes(self, epoch: int) -> np.ndarray:
        """How many units each block of an epoch takes, (blocks,).

        The first block is the rest of one that the epoch before began.
        """
        first, last = epoch * self.count, (epoch + 1) * self.count
        starts = range(first // self.batch_size * self.batch_size, last, self.batch_size)
        borders = {
            border
            for start in starts
            for border in range(start, start + self.batch_size, self.block)
            if first < border < last
        }
        units = sorted({-(-border // self.unit) for border in (first, *borders, last)})
        return np.diff(units)


def _taken(
    waiting: dict[Hashable, list[list[int]]], size: int, random: np.random.Generator
) -> list[list[int]]:
    """Takes so many units of one key, drawn by how many it has; of several where none has enough,
    the largest first."""
    taken: list[list[int]] = []
    while len(taken) < size:
        need = size - len(taken)
        enough = [key for key, units in waiting.items() if len(units) >= need]
        key = max(waiting, key=lambda key: len(waiting[key]))
        if enough:
            counts = np.array([len(waiting[key]) for key in enough])
            key = enough[int(random.choice(len(enough), p=counts / counts.sum()))]
        units = waiting[key]
        taken += units[-need:]
        del units[-need:]
        if not units:
            del waiting[key]
    return taken
