"""FID from moments to a number, beside clean-fid, torch-fidelity and eigenvalues alone.

How long the moments take stands beside it: ours a block at a time, numpy's at once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.measurement import in_turns, medians, ratio, seconds
from unidiff_cli.evaluation.metrics.fid import Moments, frechet_distance
from unidiff_cli.machine import cores


@dataclass(frozen=True)
class Distance:
    """How many features of how many numbers; Inception's have 2,048."""

    features: int = 2500
    dimension: int = 2048
    rounds: int = 3

    def measure(self) -> dict[str, float]:
        """Times, and distances that must be equal."""
        import torch
        from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric

        torch.set_num_threads(cores())
        sets = [random_features(self.features, self.dimension, seed, 0.1 * seed) for seed in (0, 1)]
        moments_ours, (a, b) = seconds(lambda: [Moments.of(x) for x in sets])
        moments_numpy, pairs = seconds(
            lambda: [(x.mean(0, np.float64), np.cov(x, rowvar=False)) for x in sets]
        )
        statistics = [{"mu": mu, "sigma": sigma} for mu, sigma in pairs]
        # As large and as symmetric as what ours takes them of.
        gram = torch.from_numpy(a.covariance + b.covariance)

        def torch_fidelity() -> float:
            return fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]

        candidates: dict[str, Callable[[], Any]] = {
            "ours": lambda: frechet_distance(a, b),
            "clean_fid": lambda: by_square_root(*pairs[0], *pairs[1]),
            "torch_fidelity": torch_fidelity,
            # The least that any way here needs: one call of LAPACK, torch's (MKL's), which takes
            # half of numpy's time.
            "eigenvalues": lambda: torch.linalg.eigvalsh(gram),
        }
        spent, results = in_turns(candidates, self.rounds)
        peers = ("clean_fid", "torch_fidelity")
        return {
            "features": self.features,
            "dimension": self.dimension,
            **medians(spent),
            **ratio("times_clean_fid", spent["clean_fid"], spent["ours"]),
            **ratio("times_torch_fidelity", spent["torch_fidelity"], spent["ours"]),
            **ratio("of_eigenvalues", spent["eigenvalues"], spent["ours"]),
            "moments_ours_seconds": moments_ours,
            "moments_numpy_seconds": moments_numpy,
            "fid": results["ours"],
            **{f"difference_{p}": abs(results["ours"] / results[p] - 1) for p in peers},
        }


def random_features(n: int, d: int, seed: int, shift: float) -> np.ndarray:
    """(n, d) float32 like a network's: not negative, correlated, of falling variance."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(9).standard_normal((d, d)) * np.geomspace(1, 1e-2, d)[:, None]
    return np.maximum(0, rng.standard_normal((n, d)) @ mix + 0.5 + shift).astype(np.float32)


def by_square_root(
    mu1: np.ndarray, sigma1: np.ndarray, mu2: np.ndarray, sigma2: np.ndarray
) -> float:
    """clean-fid's distance.

    From SciPy 1.18 on, which took away the argument that it passes, the same formula.
    """
    from cleanfid.fid import frechet_distance as clean_fid
    from scipy.linalg import sqrtm

    try:
        return float(clean_fid(mu1, sigma1, mu2, sigma2))
    except TypeError:
        root = np.trace(sqrtm(sigma1 @ sigma2)).real
        return float((mu1 - mu2) @ (mu1 - mu2) + np.trace(sigma1) + np.trace(sigma2) - 2 * root)
