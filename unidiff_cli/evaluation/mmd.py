"""Maximum mean discrepancy (MMD): the distance of two samples by a kernel, and its bootstrap.

Gretton et al., JMLR 13 (2012) 723.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# Rows of a kernel matrix in memory at once.
BLOCK = 1024
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
