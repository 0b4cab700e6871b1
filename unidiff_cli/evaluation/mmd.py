"""TODO docstring."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    pass


BLOCK = 1024


def kernel_sum(x: np.ndarray, y: np.ndarray) -> float:
    """Σ k(x_i, y_j) with k(a, b) = (a·b/d + 1)³, for features (n, d) and (m, d), in blocks and in double."""
    x, y, d = x.astype(np.float64), y.astype(np.float64), x.shape[1]
    return float(
        sum(((x[i : i + BLOCK] @ y.T / d + 1) ** 3).sum() for i in range(0, len(x), BLOCK))
    )


def unbiased_mmd(x: np.ndarray, y: np.ndarray) -> float:
    """The unbiased estimate of the squared MMD between features (n, d) and (m, d), n and m ≥ 2; may be below 0."""
    own = 0.0
    for z in (x, y):
        diagonal = (((z.astype(np.float64) ** 2).sum(axis=1) / z.shape[1] + 1) ** 3).sum()
        own += (kernel_sum(z, z) - float(diagonal)) / (len(z) * (len(z) - 1))
    return own - 2 * kernel_sum(x, y) / (len(x) * len(y))


# ---------------------------------------------------------------- any kernel, and its bootstrap

Kernel = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (b, d), (m, d) -> (b, m)


def cubic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """KID's kernel (a·b/d + 1)³ of every pair, (b, m)."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def mmd_draws(
    real: np.ndarray,
    drawn: np.ndarray,
    real_counts: np.ndarray,
    drawn_counts: np.ndarray,
    kernel: Kernel = cubic,
) -> np.ndarray:
    """The unbiased squared MMD of B resamples, (B,), for features (R, d), (n, d) and how often each is in a resample,
    (B, R), (B, n).

    One pass over the kernel, in blocks. An image that is in a resample twice is no pair with itself, or resamples of
    equal distributions would seem far apart; a resample without a pair has no figure, nan. Counts of 1 give
    `unbiased_mmd`. Gretton et al., JMLR 13 (2012) 723, eq. 3.
    """
    x, y = real.astype(np.float64), drawn.astype(np.float64)
    wx, wy = np.asarray(real_counts, np.float64), np.asarray(drawn_counts, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = -2 * _weighted(x, y, wx, wy, kernel) / (wx.sum(1) * wy.sum(1))
        for z, w in ((x, wx), (y, wy)):
            found += _weighted(z, z, w, w, kernel, own=True) / (w.sum(1) ** 2 - (w**2).sum(1))
    return np.where(np.isfinite(found), found, np.nan)


def _weighted(
    x: np.ndarray, y: np.ndarray, wx: np.ndarray, wy: np.ndarray, kernel: Kernel, own: bool = False
) -> np.ndarray:
    """Σ wx_i wy_j k(x_i, y_j) for each draw, (B,); without i = j where both are the same images."""
    found = np.zeros(len(wx))
    for start in range(0, len(x), BLOCK):
        k = kernel(x[start : start + BLOCK], y)  # (b, m)
        if own:
            rows = np.arange(len(k))
            k[rows, rows + start] = 0
        found += ((wx[:, start : start + BLOCK] @ k) * wy).sum(axis=1)
    return found
