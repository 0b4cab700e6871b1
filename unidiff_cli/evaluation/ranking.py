"""Ranks and average precision of queries over answers, from embeddings, block by block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

# Similarities in memory at once: 64 MB, whatever the catalogue's size.
BLOCK = 2**24
# The rank of a query that has no right answer.
NEVER = np.iinfo(np.int64).max
# The ways of retrieval, by the ends of their figures' names.
DIRECTIONS = {"t2i": "Text-to-image", "i2t": "Image-to-text"}
# The number of a query, its best answers (k,) and their scores (k,) → other scores (k,).
Rescore = Callable[[int, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Ranking:
    """Where the right answers of Q queries stand in the order by similarity.

    `rank` (Q,) int64 counts the wrong answers ahead of the best right one; NEVER where none is
    right. `average_precision` (Q,) float64 is 0 where none is right. `right_count` (Q,) int64 is
    the number of right answers. `top` (Q, k) int64 lists the best answers, best first, ties by
    number.
    """

    rank: np.ndarray
    average_precision: np.ndarray
    right_count: np.ndarray
    top: np.ndarray


def rank_answers(
    queries: np.ndarray,
    answers: np.ndarray,
    pairs: np.ndarray,
    top: int = 0,
    block: int = BLOCK,
    itself: np.ndarray | None = None,
    rescore: Rescore | None = None,
) -> Ranking:
    """The ranking of answers (N, D) for queries (Q, D), unit vectors, in O(Q·top + block) memory.

    `pairs` (M, 2) int: answer pairs[m, 1] is right for query pairs[m, 0]; a query may have many.
    Ranks are over cosines rounded to 6 decimals, since smaller differences are float32's rounding.
    Ties count against the model, so equal scores for all answers give no hit; ties among right
    answers do not count; a cosine that is not a number is the worst. Average precision is the mean
    over a query's right answers of (right ones so far)/(place), with the same ties (Manning et al.,
    Introduction to Information Retrieval, 8.4). `itself` (Q,) is the answer that each query is,
    which comes last. `rescore` gives the `top` best answers the order of other scores, finite ones;
    they stay ahead of all others. Raises ValueError for a pair outside the arrays.
    """
    q, n = len(queries), len(answers)
    # Sorted by query.
    pairs = np.unique(np.asarray(pairs, np.int64).reshape(-1, 2), axis=0)
    if len(pairs) and (pairs.min() < 0 or pairs[:, 0].max() >= q or pairs[:, 1].max() >= n):
        raise ValueError(f"a pair names a query or an answer that is not among {q} and {n}")
    starts = np.searchsorted(pairs[:, 0], np.arange(q + 1))
    rank, precision = np.full(q, NEVER), np.zeros(q)
    best, k = np.zeros((q, min(top, n)), np.int64), min(top, n)
    finite = bool(np.isfinite(queries).all() and np.isfinite(answers).all())
    rows = max(1, min(q, block // max(1, n)))
    for start in range(0, q, rows):
        scores = queries[start : start + rows] @ answers.T  # (b, N)
        if not finite:
            scores = np.where(np.isfinite(scores), scores, -np.inf)
        for i, row in enumerate(scores, start):
            if itself is not None:
                row[itself[i]] = -np.inf
            if k:
                best[i] = _best(row, k)
            if rescore:
                best[i] = _reorder(row, best[i], rescore(i, best[i], row[best[i]]))
            np.round(row, 6, out=row)
            right = pairs[starts[i] : starts[i + 1], 1]
            if len(right):
                rank[i], precision[i] = _place(row, right)
    return Ranking(rank, precision, np.diff(starts), best)


def _best(row: np.ndarray, k: int) -> np.ndarray:
    """The k best of scores (N,), best first, ties by number."""
    edge = np.partition(row, len(row) - k)[len(row) - k]
    above = np.flatnonzero(row > edge)
    level = np.flatnonzero(row == edge)[: k - len(above)]
    return np.concatenate([above[np.argsort(-row[above], kind="stable")], level])


def _reorder(row: np.ndarray, answers: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Answers (k,) by their new scores, which are written into the row above all cosines."""
    row[answers] = 2 + scores - scores.min()
    return answers[np.argsort(-scores, kind="stable")]


def _place(row: np.ndarray, right: np.ndarray) -> tuple[int, float]:
    """The rank of the best right answer and the average precision, of rounded scores (N,)."""
    # The right answers' scores (R,), best first.
    levels = np.sort(row[right])[::-1]
    # How many of all answers reach each level, less the right ones that do.
    if len(levels) <= 16:
        reach = np.array([np.count_nonzero(row >= level) for level in levels])
    else:
        candidates = row[row >= levels[-1]]
        reach = np.cumsum(np.bincount(np.searchsorted(-levels, -candidates), minlength=len(levels)))
    wrong = reach - np.searchsorted(-levels, -levels, side="right")
    so_far = np.arange(1, len(levels) + 1)
    return int(wrong[0]), float((so_far / (so_far + wrong)).mean())


def distinct_images(contents: Sequence[str]) -> np.ndarray:
    """The numbers of the images of these contents (N,), one for each that differs."""
    return np.sort(np.unique(np.array(contents, object), return_index=True)[1])


def hits(rank: np.ndarray, k: int) -> np.ndarray:
    """1.0 for a query with a right answer among the k best, else 0.0, (Q,)."""
    return (rank < k).astype(float)


def median_rank(rank: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The median place of the best right answer, 1 for the first.

    inf where half the queries have none. With weights it is the mean of the lower and the upper
    median, so that weights act as repeats.
    """
    order = np.argsort(rank, kind="stable")
    reached = np.cumsum(
        np.ones(len(rank)) if weights is None else np.asarray(weights, float)[order]
    )
    places = np.where(rank[order] == NEVER, np.inf, rank[order] + 1.0)
    half = reached[-1] / 2
    lower, upper = np.searchsorted(reached, half), np.searchsorted(reached, half, side="right")
    return float((places[lower] + places[min(upper, len(places) - 1)]) / 2)


def chance_recall(
    right_count: np.ndarray,
    answers: int,
    ks: Sequence[int],
    weights: np.ndarray | None = None,
) -> dict[int, float]:
    """R@k of a random order, for queries with `right_count` (Q,) right ones among the answers."""
    n, counts = answers, right_count.tolist()
    missed = {(r, k): comb(n - r, min(k, n)) / comb(n, min(k, n)) for r in set(counts) for k in ks}
    return {k: float(np.average([1 - missed[r, k] for r in counts], weights=weights)) for k in ks}


def chance_precision(
    right_count: np.ndarray, answers: int, weights: np.ndarray | None = None
) -> float:
    """The mean average precision of a random order, exactly.

    (R−1)/(N−1) + H_N (N−R)/(N(N−1)) for R right ones of N answers.
    """
    n, r = answers, np.asarray(right_count, float)
    if n < 2:
        return float(np.average(r > 0, weights=weights))
    harmonic = float((1 / np.arange(1, n + 1)).sum())
    each = np.where(r > 0, (r - 1) / (n - 1) + harmonic * (n - r) / (n * (n - 1)), 0.0)
    return float(np.average(each, weights=weights))
