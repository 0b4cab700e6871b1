"""Recall: how many of the truly nearest images a search finds, for images and for captions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

# The nearest that are asked for: recall@10.
K = 10
# Cosines that differ by less are equal but for rounding.
ROUNDING = 2e-6


class Neighbours(NamedTuple):
    """The nearest rows of each query, best first; equal scores in the order of the rows."""

    # (Q, k) int64, row numbers of the embeddings that the index was built of. All queries find
    # equally many: k, or as many as there are.
    rows: np.ndarray
    # (Q, k) float32, their inner products with the query.
    scores: np.ndarray


# Queries (Q, D) and k to their nearest rows.
Search = Callable[[np.ndarray, int], Neighbours]


@dataclass(frozen=True)
class Questions:
    """Queries with their true answers. An image of the catalogue is no answer to itself."""

    # (Q, D), unit.
    queries: np.ndarray
    # (Q,), the row of each query that is no answer; −1 where there is none.
    rows: np.ndarray
    # (Q, K), descending: the scores of the nearest.
    scores: np.ndarray

    @classmethod
    def ask(
        cls, search_exactly: Search, queries: np.ndarray, rows: np.ndarray | None = None
    ) -> Questions:
        """The questions of queries (Q, D), each perhaps the embedding of a row."""
        rows = np.full(len(queries), -1) if rows is None else rows
        return cls(queries, rows, _others(search_exactly(queries, K + 1), rows))

    def recall(self, search: Search) -> float:
        """The share of the K nearest that a search finds, 1 where there are none.

        Of images with equal scores any is right.
        """
        if not self.scores.size:
            return 1.0
        scores = _others(search(self.queries, K + 1), self.rows)
        return float((scores >= self.scores[:, -1:] - ROUNDING).mean())


def _others(found: Neighbours, rows: np.ndarray) -> np.ndarray:
    """The scores of the K nearest (Q, ≤ K) without each query's own row, which may be missing."""
    own = found.rows == rows[:, None]
    last = found.rows.shape[1] - 1
    # Where a query's own row is not there the last one is left out.
    own[~own.any(axis=1), last:] = True
    return found.scores[~own].reshape(len(rows), max(last, 0))
