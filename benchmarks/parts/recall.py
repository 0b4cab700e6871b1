"""Ranks of one right answer among N, without the N × N matrix, beside the products alone."""

from dataclasses import dataclass

import numpy as np

from benchmarks.measurement import peak_growth, seconds
from unidiff_cli.evaluation import ranking

# Cosines are taken to 6 decimals, of products in float32: nearer ones may stand in either order.
ROUNDING = 2e-6
# The best answers kept of each query, as evaluation keeps them.
TOP = 10


@dataclass(frozen=True)
class Recall:
    """As many answers as queries; `checked` of the ranks are compared with cosines in double."""

    queries: int = 100_000
    checked: int = 2_000

    def measure(self) -> dict[str, float]:
        """Times, peaks, and ranks that must be right."""
        queries, answers = embeddings(self.queries)
        n = len(answers)
        rows = max(1, min(n, ranking.BLOCK // n))
        pairs = np.repeat(np.arange(n)[:, None], 2, axis=1)
        buffer = np.empty((rows, n), np.float32)

        def product() -> None:
            """The same blocks and nothing else."""
            for start in range(0, n, rows):
                block = queries[start : start + rows]
                np.matmul(block, answers.T, out=buffer[: len(block)])

        before, _ = seconds(product)
        peak, took, ranks = peak_growth(lambda: ranking.rank_answers(queries, answers, pairs))
        after, _ = seconds(product)
        peak_top, took_top, best = peak_growth(
            lambda: ranking.rank_answers(queries, answers, pairs, top=TOP)
        )
        alone, most = (before + after) / 2, max(peak, peak_top)
        return {
            "queries": n,
            "answers": n,
            "dimension": queries.shape[1],
            "ours_seconds": took,
            f"ours_top_{TOP}_seconds": took_top,
            "product_seconds": alone,
            "of_product": alone / took,
            f"of_product_top_{TOP}": alone / took_top,
            "product_gflops": 2 * n * n * queries.shape[1] / alone / 1e9,
            "peak_mb": most,
            "peak_blocks": most * 2**20 / (4 * rows * n),
            "dense_mb": 4 * n * n / 2**20,
            "r1": float((ranks.rank < 1).mean()),
            **against_dense(queries, answers, best, self.checked),
        }


def embeddings(n: int, d: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """Unit queries and answers (n, d), float32.

    Query i is answer i and noise, so that most are right and not all.
    """
    rng = np.random.default_rng(0)
    answers = rng.standard_normal((n, d), np.float32)
    queries = answers + 2 * rng.standard_normal((n, d), np.float32)
    for x in (queries, answers):
        x /= np.linalg.norm(x, axis=1, keepdims=True)
    return queries, answers


def against_dense(
    queries: np.ndarray, answers: np.ndarray, ranks: ranking.Ranking, checked: int
) -> dict[str, float]:
    """How many of some queries' ranks, and of their best answers, are not those of double cosines.

    What is nearer than ROUNDING may stand in either order: a rank lies between the answers that are
    surely better and those that may be. `rank_equal` is the share that is equal without such leave.
    """
    chosen, outside, tops, equal = np.linspace(0, len(queries) - 1, checked).astype(int), 0, 0, 0
    y = answers.astype(float)
    for part in np.array_split(chosen, max(1, checked // 100)):
        scores = queries[part].astype(float) @ y.T  # (b, N)
        right, rank = scores[np.arange(len(part)), part][:, None], ranks.rank[part]
        low = (scores > right + ROUNDING).sum(axis=1)
        # Less itself.
        high = (scores >= right - ROUNDING).sum(axis=1) - 1
        outside += int(((rank < low) | (rank > high)).sum())
        equal += int((rank == (scores > right).sum(axis=1)).sum())
        top = np.take_along_axis(scores, ranks.top[part], axis=1)
        best = np.sort(scores, axis=1)[:, : -TOP - 1 : -1]
        tops += int((np.abs(top - best).max(axis=1) > ROUNDING).sum())
    return {
        "checked": len(chosen),
        "ranks_outside": outside,
        "tops_outside": tops,
        "rank_equal": equal / len(chosen),
    }
