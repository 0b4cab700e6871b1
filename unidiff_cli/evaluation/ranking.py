"""TODO docstring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    pass


BLOCK = 2**24  # similarities held at once: 64 MB, whatever the catalogue's size
NEVER = np.iinfo(np.int64).max  # the rank of what has no right answer


@dataclass(frozen=True)
class Ranked:
    """What one pass over the answers tells of each query. Everything else is arithmetic on these."""

    rank: (
        np.ndarray
    )  # (Q,) int64: wrong answers before the best right one; NEVER where none is right
    precision: np.ndarray  # (Q,) float64: average precision, 0 where none is right
    right: np.ndarray  # (Q,) int64: right answers there are
    top: np.ndarray  # (Q, top) int64: the best answers, best first, ties by number


def ranked(
    queries: np.ndarray, answers: np.ndarray, pairs: np.ndarray, top: int = 0, block: int = BLOCK
) -> Ranked:
    """Ranks and average precision of queries (Q, D) over answers (N, D), unit vectors, in O(Q·top + block) memory.

    `pairs` (M, 2) int says that answer pairs[m, 1] is right for query pairs[m, 0]; a query may have many. The ranks
    are over cosines taken to 6 decimals, since what differs by less is float32's rounding: ties go against the model, so
    one that gives everything one score finds nothing, among right answers they are none, and a cosine that is no number
    is the worst. Average precision is the mean over a query's right answers of
    (right ones so far)/(place), with the same ties (Manning et al., Introduction to Information Retrieval, 8.4).
    Raises ValueError for a pair outside the arrays.
    """
    q, n = len(queries), len(answers)
    pairs = np.unique(np.asarray(pairs, np.int64).reshape(-1, 2), axis=0)  # by query
    if len(pairs) and (pairs.min() < 0 or pairs[:, 0].max() >= q or pairs[:, 1].max() >= n):
        raise ValueError(f"a pair names a query or an answer that is not among {q} and {n}")
    starts = np.searchsorted(pairs[:, 0], np.arange(q + 1))
    rank, precision = np.full(q, NEVER), np.zeros(q)
    best, k = np.zeros((q, min(top, n)), np.int64), min(top, n)
    clean = bool(np.isfinite(queries).all() and np.isfinite(answers).all())
    rows = max(1, min(q, block // max(1, n)))
    for start in range(0, q, rows):
        scores = queries[start : start + rows] @ answers.T  # (b, N)
        if not clean:
            scores = np.where(np.isfinite(scores), scores, -np.inf)
        for i, row in enumerate(scores, start):
            if k:
                best[i] = _best(row, k)
            np.round(row, 6, out=row)
            some = pairs[starts[i] : starts[i + 1], 1]
            if len(some):
                rank[i], precision[i] = _place(row, some)
    return Ranked(rank, precision, np.diff(starts), best)


def _best(row: np.ndarray, k: int) -> np.ndarray:
    """The k best of scores (N,), best first, ties by number."""
    edge = np.partition(row, len(row) - k)[len(row) - k]
    above = np.flatnonzero(row > edge)
    level = np.flatnonzero(row == edge)[: k - len(above)]
    return np.concatenate([above[np.argsort(-row[above], kind="stable")], level])


def _place(row: np.ndarray, right: np.ndarray) -> tuple[int, float]:
    """The wrong answers before the best of the right ones, and the average precision, of rounded scores (N,)."""
    levels = np.sort(row[right])[::-1]  # (R,) best first
    # how many of all answers come up to each level, less the right ones that do
    if len(levels) <= 16:
        reach = np.array([np.count_nonzero(row >= level) for level in levels])
    else:
        candidates = row[row >= levels[-1]]
        reach = np.cumsum(np.bincount(np.searchsorted(-levels, -candidates), minlength=len(levels)))
    wrong = reach - np.searchsorted(-levels, -levels, side="right")
    so_far = np.arange(1, len(levels) + 1)
    return int(wrong[0]), float((so_far / (so_far + wrong)).mean())


def hits(rank: np.ndarray, k: int) -> np.ndarray:
    """1.0 for a query with a right answer among the k best, else 0.0, (Q,): what paired tests compare."""
    return (rank < k).astype(float)


def median_rank(rank: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The median place of the best right answer, 1 for the first; inf where half the queries have none.

    Weighted, the mean of the lower and the upper median, so that weights act as repeats.
    """
    order = np.argsort(rank, kind="stable")
    reached = np.cumsum(
        np.ones(len(rank)) if weights is None else np.asarray(weights, float)[order]
    )
    places = np.where(rank[order] == NEVER, np.inf, rank[order] + 1.0)
    half = reached[-1] / 2
    lower, upper = np.searchsorted(reached, half), np.searchsorted(reached, half, side="right")
    return float((places[lower] + places[min(upper, len(places) - 1)]) / 2)
