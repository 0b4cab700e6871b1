"""The peak memory of the moments of N features, beside all features in memory as clean-fid has it.

Features come a batch at a time. Each peak is over what was resident before.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.measurement import in_fresh_process, pace, peak_growth, relative_difference
from unidiff_cli.evaluation.metrics.fid import BLOCK, Moments

# Peak in MB, seconds, and the mean and covariance.
Result = tuple[float, float, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Memory:
    """How many features of `dimension` numbers are `streamed`, and how many held `whole`."""

    dimension: int = 2048
    streamed: tuple[int, ...] = (10_000, 50_000, 200_000)
    whole: tuple[int, ...] = (10_000, 50_000)

    def measure(self) -> dict[str, float]:
        """Peaks and seconds by count, and moments that must be equal."""
        ours = {n: in_fresh_process(streamed, n, self.dimension) for n in self.streamed}
        clean_fid = {n: in_fresh_process(whole, n, self.dimension) for n in self.whole}
        figures: dict[str, float] = {}
        for name, results in (("ours", ours), ("clean_fid", clean_fid)):
            for n, (peak, took, _) in results.items():
                key = f"{name}_{n // 1000}k"
                figures |= {f"{key}_mb": peak, f"{key}_seconds": took}
        least, most, both = self.streamed[0], self.streamed[-1], self.whole[-1]
        moments, expected = ours[self.whole[0]][2], clean_fid[self.whole[0]][2]
        return figures | {
            "most_over_least": ours[most][0] / ours[least][0],
            # Computed, not measured.
            f"features_alone_{most // 1000}k_mb": most * self.dimension * 4 / 2**20,
            f"times_clean_fid_{both // 1000}k": clean_fid[both][0] / ours[both][0],
            "mean_difference": relative_difference(moments[0], expected[0]),
            "covariance_difference": relative_difference(moments[1], expected[1]),
        }


def batches(n: int, d: int) -> Iterator[np.ndarray]:
    """Features (BLOCK, d) at a time, as `Moments` takes them in.

    They are far from 0, where sums of squares lose digits.
    """
    rng = np.random.default_rng(0)
    for start in range(0, n, BLOCK):
        yield rng.random((min(BLOCK, n - start), d), np.float32) + 10


def streamed(n: int, d: int) -> Result:
    """Our moments, a batch at a time."""
    # BLAS has its buffers then.
    pace()

    def take() -> Moments:
        moments = Moments(d)
        for batch in batches(n, d):
            moments.update(batch)
        return moments

    peak, took, moments = peak_growth(take)
    return peak, took, (moments.mean, moments.covariance)


def whole(n: int, d: int) -> Result:
    """clean-fid's `get_files_features` and `compare_folders`: a list, joined, then numpy."""
    pace()

    def take() -> tuple[np.ndarray, np.ndarray]:
        features = np.concatenate(list(batches(n, d)))
        # clean-fid's covariance is of float32.
        return features.mean(axis=0, dtype=np.float64), np.cov(features, rowvar=False)

    return peak_growth(take)
