"""The order of a streamed run: every sample once an epoch, read a span of a shard at a time.

A span is some consecutive samples of one shard. Each epoch the shards are cut into spans anew, the
spans are shuffled, and so are the samples of each. The result is cut into as many lanes as a batch
has places: place j of every batch reads lane j, one sample a step. So a process or a worker that
serves some places reads the spans of their lanes, one after another, and no others; and a batch
holds samples from all over the catalogue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unidiff_cli.data.row import Row
from unidiff_cli.data.rows import column_of

# Samples of a span: a few MB, which a disk reads at nearly its full speed.
LONGEST = 32
# Spans of a lane, at least: a span at a lane's end is read for both of its neighbours.
FEWEST = 4
# Epochs kept in memory: a batch spans two at most.
RECENT = 4


@dataclass(frozen=True)
class Epoch:
    """One epoch: the row at each of its positions, and the span it lies in."""

    rows: np.ndarray  # (N,)
    span_of: np.ndarray  # (N,)
    # The rows of each span, in the order of their bytes.
    spans: list[np.ndarray]


class SpanOrder:
    """The sample at a position of a streamed run, and the span to read it from.

    It is a pure function of (seed, position), whatever the number of processes and workers.
    """

    def __init__(self, rows: Sequence[Row], batch_size: int, seed: int) -> None:
        self.count, self.batch_size, self.seed = len(rows), batch_size, seed
        self.length = max(1, min(LONGEST, self.count // (FEWEST * batch_size)))
        names, shards = np.unique(np.array(list(column_of(rows, "shard"))), return_inverse=True)
        offsets = np.array(list(column_of(rows, "image_offset")), np.int64)
        by_bytes = np.lexsort((offsets, shards))
        borders = np.searchsorted(shards[by_bytes], np.arange(1, len(names)))
        self._shards = np.split(by_bytes, borders)
        self._epochs: dict[int, Epoch] = {}

    def __call__(self, position: int) -> int:
        """The index of the row at a position of the endless stream."""
        epoch, offset = divmod(position, self.count)
        return int(self.epoch(epoch).rows[offset])

    def span(self, position: int) -> tuple[tuple[int, int], np.ndarray]:
        """The name of the span that a position is read from, and the rows of that span."""
        epoch, offset = divmod(position, self.count)
        arranged = self.epoch(epoch)
        number = int(arranged.span_of[offset])
        return (epoch, number), arranged.spans[number]

    def epoch(self, number: int) -> Epoch:
        """One epoch, arranged."""
        if number not in self._epochs:
            while len(self._epochs) >= RECENT:
                self._epochs.pop(next(iter(self._epochs)))
            self._epochs[number] = self._arranged(number)
        return self._epochs[number]

    def _arranged(self, number: int) -> Epoch:
        random = np.random.default_rng([self.seed, number, 3])
        spans = [span for shard in self._shards for span in self._cut(shard, random)]
        order = random.permutation(len(spans))
        shuffled = np.concatenate([random.permutation(spans[n]) for n in order])
        read_from = np.repeat(order, [len(spans[n]) for n in order])
        # Positions by place, then by step: the lanes one after another.
        places = np.arange(number * self.count, (number + 1) * self.count) % self.batch_size
        lanes = np.argsort(places, kind="stable")
        span_of, rows = np.empty(self.count, np.int64), np.empty(self.count, np.int64)
        span_of[lanes], rows[lanes] = read_from, shuffled
        return Epoch(rows, span_of, spans)

    def _cut(self, shard: np.ndarray, random: np.random.Generator) -> list[np.ndarray]:
        """A shard's rows as spans, the first of a random length."""
        first = int(random.integers(self.length)) + 1
        return np.split(shard, range(first, len(shard), self.length))
