"""Exact search beside the products alone, and beside faiss and usearch where they are installed."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from benchmarks.measurement import in_turns, ratio
from unidiff_cli.retrieval.exact import nearest_rows

# Cosines of float32 products: nearer ones may stand in either order.
ROUNDING = 2e-6
# Directions that hold nearly all of the variance, as in CLIP's embeddings.
DIRECTIONS = 96
VIEWS = 5


@dataclass(frozen=True)
class Exact:
    """k nearest of `rows` embeddings, for each number of queries at once."""

    rows: int = 100_000
    dimension: int = 512
    batches: tuple[int, ...] = (1, 16, 256)
    k: int = 10
    rounds: int = 15

    def measure(self) -> dict[str, float]:
        """Times by number of queries, and answers that must be right."""
        embeddings, queries = catalogue(self.rows, self.dimension, max(self.batches))
        figures: dict[str, float] = {"rows": self.rows, "dimension": self.dimension}
        for count in self.batches:
            asked = queries[:count]
            candidates = self._candidates(embeddings, asked)
            spent, results = in_turns(candidates, self.rounds)
            figures |= {
                f"{name}_ms_{count}": 1e3 * float(np.median(t)) for name, t in spent.items()
            }
            figures |= ratio(f"of_product_{count}", spent["ours"], spent["product"])
            peers = [spent[name] for name in ("faiss", "usearch") if name in spent]
            if peers:
                best = np.minimum.reduce(peers)
                figures |= ratio(f"of_best_peer_{count}", spent["ours"], best)
            figures[f"wrong_{count}"] = wrong(embeddings, asked, results["ours"].rows)
        return figures

    def _candidates(self, embeddings: np.ndarray, asked: np.ndarray) -> dict[str, Callable]:
        products = np.empty((len(asked), len(embeddings)), np.float32)

        def product() -> None:
            # Of one query, the faster of numpy's ways.
            if len(asked) == 1:
                np.vecdot(embeddings, asked[0], out=products[0])
            else:
                np.matmul(asked, embeddings.T, out=products)

        candidates: dict[str, Callable] = {
            "product": product,
            "ours": lambda: nearest_rows(embeddings, asked, self.k),
        }
        if find_spec("faiss"):
            import faiss

            index = faiss.IndexFlatIP(embeddings.shape[1])
            index.add(embeddings)
            candidates["faiss"] = lambda: index.search(asked, self.k)
        if find_spec("usearch"):
            from usearch.index import MetricKind, search

            candidates["usearch"] = lambda: search(
                embeddings, asked, self.k, MetricKind.IP, exact=True
            )
        return candidates


def catalogue(rows: int, dimension: int, queries: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit embeddings (rows, D) of products in several views, of kinds, and queries near some."""
    rng = np.random.default_rng(0)
    directions = min(DIRECTIONS, dimension)
    basis = np.linalg.qr(rng.standard_normal((dimension, directions)))[0].T.astype(np.float32)
    kinds = rng.standard_normal((500, directions), np.float32)
    embeddings = np.empty((rows, dimension), np.float32)
    for start in range(0, rows, 50_000):
        count = min(50_000, rows - start)
        products = -(-count // VIEWS)
        centres = kinds[rng.integers(0, len(kinds), products)]
        centres = centres + 0.8 * rng.standard_normal((products, directions), np.float32)
        views = np.repeat(centres, VIEWS, axis=0)[:count]
        views = views + 0.45 * rng.standard_normal((count, directions), np.float32)
        noise = 0.02 * rng.standard_normal((count, dimension), np.float32)
        embeddings[start : start + count] = views @ basis + noise
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    near = embeddings[rng.integers(0, rows, queries)]
    asked = near + 0.04 * rng.standard_normal((queries, dimension), np.float32)
    return embeddings, asked / np.linalg.norm(asked, axis=1, keepdims=True)


def wrong(
    embeddings: np.ndarray,
    queries: np.ndarray,
    rows: np.ndarray,
    allowed: np.ndarray | None = None,
) -> int:
    """Queries whose answers (Q, k) are not the nearest by products in double, but for rounding."""
    outside = 0
    for query, found in zip(queries.astype(float), rows, strict=True):
        scores = in_double(embeddings, query)
        if allowed is not None:
            scores = np.where(allowed, scores, -np.inf)
        best = np.sort(scores)[: -len(found) - 1 : -1]
        twice = len(set(found.tolist())) != len(found)
        outside += bool(twice or np.abs(scores[found] - best).max() > ROUNDING)
    return outside


def in_double(embeddings: np.ndarray, query: np.ndarray) -> np.ndarray:
    """The products (N,) or (N, Q) of embeddings (N, D) with a query (D,) or several (D, Q)."""
    blocks = range(0, len(embeddings), 16_384)
    return np.concatenate([embeddings[b : b + 16_384].astype(float) @ query for b in blocks])
