"""Kernel inception distance (Bińkowski et al., arXiv 1801.01401): how far drawn pictures are from real ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import sqrt
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import WorkError
from . import Draws, Figure, Metric
from ._statistics import DRAWS, Sides, both_sides

if TYPE_CHECKING:
    from ._evidence import Evidence, HeldOut

SUBSETS, SUBSET_SIZE = 100, 1000  # clean-fid's
ENOUGH = 2000  # pictures, below which the figure says how few there were
BLOCK = 1024


def kernel_sum(x: np.ndarray, y: np.ndarray) -> float:
    """Σ k(x_i, y_j) with k(a, b) = (a·b/d + 1)³, for features (n, d) and (m, d), in blocks and in double."""
    x, y, d = x.astype(np.float64), y.astype(np.float64), x.shape[1]
    return float(sum(((x[i : i + BLOCK] @ y.T / d + 1) ** 3).sum() for i in range(0, len(x), BLOCK)))


def unbiased_mmd(x: np.ndarray, y: np.ndarray) -> float:
    """The unbiased estimate of the squared MMD between features (n, d) and (m, d), n and m ≥ 2; may be below 0."""
    own = 0.0
    for z in (x, y):
        diagonal = (((z.astype(np.float64) ** 2).sum(axis=1) / z.shape[1] + 1) ** 3).sum()
        own += (kernel_sum(z, z) - float(diagonal)) / (len(z) * (len(z) - 1))
    return own - 2 * kernel_sum(x, y) / (len(x) * len(y))


def kernel_distance(
    real: np.ndarray, drawn: np.ndarray, rng: Any, subsets: int = SUBSETS, size: int = SUBSET_SIZE
) -> float:
    """KID. Where both sides have more than `size` pictures the mean over random subsets, as clean-fid's
    `kernel_distance` takes it (equal to it, draw by draw, for the same numpy RandomState); with fewer, every
    picture is used once, which is the same estimate without the subsets' noise."""
    if min(len(real), len(drawn)) <= size:
        return unbiased_mmd(real, drawn)
    found = 0.0
    for _ in range(subsets):
        x = drawn[rng.choice(len(drawn), size, replace=False)]
        y = real[rng.choice(len(real), size, replace=False)]
        found += unbiased_mmd(x, y)
    return found / subsets


def noise(real: np.ndarray, drawn: int, rng: Any, splits: int = 20) -> float:
    """The typical size of KID where the truth is 0, for so many drawn pictures and these real ones.

    The root mean square between disjoint halves of the real pictures (at least 4), brought to the sizes in use: of
    equal distributions the estimate spreads as 1/n + 1/m (measured on luma, n = 12 … 230: constant within 6 %).
    """
    half, found = min(len(real) // 2, SUBSET_SIZE), []
    for _ in range(splits):
        order = rng.permutation(len(real))
        found.append(unbiased_mmd(real[order[:half]], real[order[half : 2 * half]]))
    return sqrt(float(np.mean(np.square(found)))) * half / 2 * (1 / drawn + 1 / len(real))


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

    One pass over the kernel, in blocks. A picture that is in a resample twice is no pair with itself, or resamples of
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
    """Σ wx_i wy_j k(x_i, y_j) for each draw, (B,); without i = j where both are the same pictures."""
    found = np.zeros(len(wx))
    for start in range(0, len(x), BLOCK):
        k = kernel(x[start : start + BLOCK], y)  # (b, m)
        if own:
            rows = np.arange(len(k))
            k[rows, rows + start] = 0
        found += ((wx[:, start : start + BLOCK] @ k) * wy).sum(axis=1)
    return found


def kid_draws(
    real: np.ndarray, drawn: np.ndarray, draws: int = DRAWS, seed: int = 0, groups: Sides | None = None
) -> np.ndarray:
    """Bootstrap figures of KID, (B,), by `both_sides`: for `interval`, or two models' for `paired_draws`."""
    return mmd_draws(real, drawn, *both_sides(len(real), len(drawn), draws, seed, groups))


class Kid(Metric):
    """KID between the held-out pictures and pictures drawn from their captions, over the scorer's features."""

    reads: ClassVar[frozenset[str]] = frozenset({"generated_features", "real_features"})
    figures: ClassVar[Mapping[str, Figure]] = {"kid": Figure("KID", "pictures", "lower")}

    def refuse(self, held: HeldOut) -> None:
        if held.evaluate.images < 2 or len(held.rows) < 2:
            few = f"{held.evaluate.images} drawn and {len(held.rows)} real"
            raise WorkError(
                f"KID needs 2 pictures of each kind, and there are {few}.",
                "Raise evaluate.images, or leave kid out.",
            )

    def compute(self, evidence: Evidence) -> dict[str, float]:
        rng = np.random.RandomState(evidence.held.evaluate.seed)
        return {"kid": kernel_distance(evidence.real_features, evidence.generated_features, rng)}

    def references(self, evidence: Evidence) -> dict[str, dict[str, float]]:
        if len(evidence.real_features) < 4:
            return {}
        rng = np.random.RandomState(evidence.held.evaluate.seed)
        return {"noise": {"kid": noise(evidence.real_features, len(evidence.generated_features), rng)}}

    def draws(self, evidence: Evidence) -> dict[str, Draws]:
        held, drawn = evidence.held, evidence.generated_features
        found = kid_draws(evidence.real_features, drawn, seed=held.fold, groups=held.picture_groups)
        return {"kid": Draws(found, len(drawn), held.products_drawn)}

    def notes(self, evidence: Evidence) -> list[str]:
        drawn, real, seen = (
            len(evidence.generated_features),
            len(evidence.real_features),
            evidence.held.extractor,
        )
        said = [
            f"KID over {seen.features} features of {seen.name} at {seen.image_size} px{seen.caution}.",
            f"{drawn:,} drawn pictures against {real:,} real ones of the {evidence.held.evaluate.split} split. The column for "
            "real pictures is the typical size of KID between as many real pictures and real ones, where the truth is 0.",
        ]
        if min(drawn, real) < ENOUGH:
            said.append(f"Fewer than {ENOUGH:,} pictures: unbiased, but noisy. Trust large differences only.")
        return said
