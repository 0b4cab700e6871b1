"""Maximum mean discrepancy (MMD): the distance of two samples by a kernel, and its bootstrap.

Gretton et al., JMLR 13 (2012) 723.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from unidiff_cli.errors import WorkError

if TYPE_CHECKING:
    from unidiff_cli.evaluation.eval_set import EvalSet

# Rows of a kernel matrix in memory at once.
BLOCK = 1024
# Images of a half, where the null level is measured.
MAX_HALF = 1000
# (b, d), (m, d) -> (b, m).
Kernel = Callable[[np.ndarray, np.ndarray], np.ndarray]


def kernel_sum(x: np.ndarray, y: np.ndarray) -> float:
    """Σ k(x_i, y_j) with KID's kernel k(a, b) = (a·b/d + 1)³ of (n, d) and (m, d), in double."""
    x, y, d = x.astype(np.float64), y.astype(np.float64), x.shape[1]
    return float(
        sum(((x[i : i + BLOCK] @ y.T / d + 1) ** 3).sum() for i in range(0, len(x), BLOCK))
    )


def unbiased_mmd(x: np.ndarray, y: np.ndarray) -> float:
    """The unbiased squared MMD of features (n, d) and (m, d), n and m ≥ 2; may be below 0."""
    within = 0.0
    for z in (x, y):
        diagonal = (((z.astype(np.float64) ** 2).sum(axis=1) / z.shape[1] + 1) ** 3).sum()
        within += (kernel_sum(z, z) - float(diagonal)) / (len(z) * (len(z) - 1))
    return within - 2 * kernel_sum(x, y) / (len(x) * len(y))


def null_level(
    distance: Callable[[np.ndarray, np.ndarray], float],
    real: np.ndarray,
    generated_count: int,
    rng: Any,
    splits: int = 20,
) -> float:
    """The typical size of an MMD where the truth is 0, for these numbers of images.

    The root mean square between disjoint halves of the real images (at least 4), scaled to the
    sizes in use: of equal distributions the estimate spreads as 1/n + 1/m (measured of KID on luma,
    n = 12 … 230: constant within 6 %).
    """
    half, distances = min(len(real) // 2, MAX_HALF), []
    for _ in range(splits):
        order = rng.permutation(len(real))
        distances.append(distance(real[order[:half]], real[order[half : 2 * half]]))
    level = float(np.sqrt(np.mean(np.square(distances))))
    return level * half / 2 * (1 / generated_count + 1 / len(real))


def check_images(eval_set: EvalSet, name: str) -> None:
    """Raises WorkError where the metric of that name has fewer than two images of a kind."""
    generated, real = eval_set.evaluate.images, len(eval_set.rows)
    if min(generated, real) < 2:
        raise WorkError(
            f"{name} needs 2 images of each kind, "
            f"and there are {generated} generated and {real} real.",
            f"Raise evaluate.images, or leave {name.lower()} out.",
        )


def cubic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """KID's kernel (a·b/d + 1)³ of every pair, (b, m)."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def bootstrap_mmd(
    real: np.ndarray,
    generated: np.ndarray,
    real_counts: np.ndarray,
    generated_counts: np.ndarray,
    kernel: Kernel = cubic,
) -> np.ndarray:
    """The unbiased squared MMD of B resamples, (B,), of features (R, d) and (n, d).

    The counts (B, R) and (B, n) say how often each image is in a resample. One pass over the
    kernel, in blocks. An image that is in a resample twice is no pair with itself, or resamples of
    equal distributions would seem far apart. A resample without a pair gives nan. Counts of 1 give
    `unbiased_mmd`. Gretton et al., eq. 3.
    """
    x, y = real.astype(np.float64), generated.astype(np.float64)
    wx, wy = np.asarray(real_counts, np.float64), np.asarray(generated_counts, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        mmd = -2 * _weighted_sum(x, y, wx, wy, kernel) / (wx.sum(1) * wy.sum(1))
        for z, w in ((x, wx), (y, wy)):
            pairs = w.sum(1) ** 2 - (w**2).sum(1)
            mmd += _weighted_sum(z, z, w, w, kernel, skip_diagonal=True) / pairs
    return np.where(np.isfinite(mmd), mmd, np.nan)


def _weighted_sum(
    x: np.ndarray,
    y: np.ndarray,
    wx: np.ndarray,
    wy: np.ndarray,
    kernel: Kernel,
    skip_diagonal: bool = False,
) -> np.ndarray:
    """Σ wx_i wy_j k(x_i, y_j) of each resample, (B,); without i = j where x and y are the same."""
    total = np.zeros(len(wx))
    for start in range(0, len(x), BLOCK):
        k = kernel(x[start : start + BLOCK], y)  # (b, m)
        if skip_diagonal:
            rows = np.arange(len(k))
            k[rows, rows + start] = 0
        total += ((wx[:, start : start + BLOCK] @ k) * wy).sum(axis=1)
    return total
