"""Exact search: a product with every embedding, in blocks of which only the best is kept."""

from __future__ import annotations

import numpy as np

from unidiff_cli.retrieval.index import Neighbours

# Scores of a block: 4 MB, of 2^18 to 2^22 the fastest for 256 queries.
BLOCK = 1 << 20
# Rows of a block, at least and at most.
LEAST, MOST = 1_024, 1 << 16
# The share of allowed rows up to which they are copied together and searched alone.
FEW = 0.1


def search_exactly(
    embeddings: np.ndarray, queries: np.ndarray, k: int, allowed: np.ndarray | None = None
) -> Neighbours:
    """The k rows of (N, D) with the largest products with each query (Q, D).

    Only rows that `allowed` (N,) lets through are found; all of them where k is larger.
    """
    if allowed is None:
        return nearest_rows(embeddings, queries, k)
    numbers = np.flatnonzero(allowed)
    if len(numbers) <= FEW * len(allowed):
        found = nearest_rows(embeddings[numbers], queries, k)
        return Neighbours(numbers[found.rows], found.scores)
    return nearest_rows(embeddings, queries, min(k, len(numbers)), allowed)


def nearest_rows(
    embeddings: np.ndarray, queries: np.ndarray, k: int, allowed: np.ndarray | None = None
) -> Neighbours:
    """The k rows of (N, D) with the largest products with each query (Q, D), of those allowed.

    At least k rows must be allowed. The least of the k best so far is a bound that a block's
    scores must reach, so that after the first blocks nearly none is looked at twice.
    """
    queries = np.ascontiguousarray(queries, np.float32)
    count, k = len(queries), min(k, len(embeddings))
    rows = np.zeros((count, 0), np.int64)
    scores = np.zeros((count, 0), np.float32)
    if not k or not count:
        return Neighbours(rows, scores)
    size = min(max(BLOCK // count, LEAST, k), MOST)
    for start in range(0, len(embeddings), size):
        block = embeddings[start : start + size]
        # One query is a product of the block's rows, which numpy does faster than its BLAS.
        products = np.vecdot(block, queries[0])[None] if count == 1 else queries @ block.T
        if allowed is not None:
            products[:, ~allowed[start : start + size]] = -np.inf
        rows, scores = _better(rows, scores, products, start, k)
    return Neighbours(rows, scores)


def _better(
    rows: np.ndarray, scores: np.ndarray, products: np.ndarray, start: int, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k best of those so far (Q, ≤ k) and of a block's products (Q, B), best first."""
    if scores.shape[1] == k:
        # Equal scores of later rows come after, so that they are in no answer.
        better = products > scores[:, -1:]
        touched = np.flatnonzero(better.any(axis=1))
        for query in touched:
            columns = np.flatnonzero(better[query])
            rows[query], scores[query] = best_of(
                np.concatenate([rows[query], columns + start]),
                np.concatenate([scores[query], products[query, columns]]),
                k,
            )
        return rows, scores
    columns = np.arange(start, start + products.shape[1])
    pairs = [
        best_of(np.concatenate([r, columns]), np.concatenate([s, p]), k)
        for r, s, p in zip(rows, scores, products, strict=True)
    ]
    return np.stack([r for r, _ in pairs]), np.stack([s for _, s in pairs])


def best_of(rows: np.ndarray, scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows and scores (≤ k,) of the k best, best first; equal ones in the order of rows."""
    if k < len(scores):
        kept = np.flatnonzero(scores >= np.partition(scores, -k)[-k])
        rows, scores = rows[kept], scores[kept]
    order = np.lexsort([rows, -scores])[:k]
    return rows[order], scores[order]
