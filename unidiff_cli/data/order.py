"""Says which sample stands at which position of a run.

A run reads an endless stream of positions; step k reads positions k·B … (k+1)·B − 1. Each order
here is a pure function of (seed, position), so that a run which resumes at step k reads what an
uninterrupted one would, at no cost, with any number of processes and workers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from zlib import crc32

import numpy as np

from unidiff_cli.data.captions import same_text

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
        self._epochs: dict[int, np.ndarray] = {}

    def __call__(self, position: int) -> int:
        """The sample at a position of the endless stream."""
        epoch, offset = divmod(position, self.count)
        if epoch not in self._epochs:
            while len(self._epochs) >= RECENT:
                self._epochs.pop(next(iter(self._epochs)))
            self._epochs[epoch] = np.array(self._arranged(epoch), np.int32)
        return int(self._epochs[epoch][offset])

    @abstractmethod
    def _arranged(self, epoch: int) -> Sequence[int]:
        """The samples of an epoch, in order."""


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
