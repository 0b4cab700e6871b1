"""Fréchet distance of Gaussians, FID's (Heusel et al., arXiv 1706.08500): how far drawn images are from real ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.results import BootstrapSamples, FigureSpec
from unidiff_cli.evaluation.statistics import Sides, both_sides

if TYPE_CHECKING:
    from unidiff_cli.evaluation.eval_set import EvalSet
    from unidiff_cli.evaluation.outputs import ModelOutputs


LEAST = 2_000  # images of each kind, below which FID is refused
UNBIASED = 10_000  # images, below which the figure says that it is too high
BLOCK, PANEL = 1024, 256
SPLITS, SMALL = 5, 256
MARGIN_DRAWS, LARGE_DRAWS = (
    200,
    40,
)  # of SMALL features or fewer, of more: the cost is their number cubed


class Moments:
    """How many features were seen, their mean (d,) and covariance (d, d): d² numbers however many images.

    Blocks are joined by Chan's update of the scatter Σ(x−mean)(x−mean)ᵀ, in double, which unlike Σxxᵀ − n·mean·meanᵀ
    loses no digits to a large mean. Chan, Golub & LeVeque, The American Statistician 37 (1983) 242.
    """

    def __init__(self, dimension: int) -> None:
        self.count = 0
        self.mean = np.zeros(dimension)
        self.scatter = np.zeros((dimension, dimension))

    @classmethod
    def of(cls, features: np.ndarray) -> Moments:
        """The moments of features (n, d)."""
        found = cls(features.shape[1])
        found.update(features)
        return found

    def update(self, features: np.ndarray) -> None:
        """Takes in features (n, d), n ≥ 0."""
        for start in range(0, len(features), BLOCK):
            x = features[start : start + BLOCK].astype(np.float64)
            mean = x.mean(axis=0)
            x -= mean
            self._join(len(x), mean, x.T @ x)

    def merge(self, other: Moments) -> None:
        """Takes in what another process saw."""
        self._join(other.count, other.mean, other.scatter)

    def _join(self, count: int, mean: np.ndarray, scatter: np.ndarray) -> None:
        if count == 0:
            return
        total = self.count + count
        apart = mean - self.mean
        self.scatter += scatter
        self.scatter += np.outer(apart, apart) * (self.count * count / total)
        self.mean = self.mean + apart * (count / total)
        self.count = total

    @property
    def covariance(self) -> np.ndarray:
        """(d, d), divided by n − 1 as numpy's and clean-fid's."""
        return self.scatter / (self.count - 1)


def frechet_distance(a: Moments, b: Moments) -> float:
    """‖μ_a − μ_b‖² + tr Σ_a + tr Σ_b − 2 tr(Σ_aΣ_b)^½ of two moments of at least 2 features each.

    tr(Σ_aΣ_b)^½ is the sum of the roots of the eigenvalues of FᵀΣ_aF for any Σ_b = FFᵀ: symmetric, so no complex
    square root, nothing added to a diagonal, and scipy is not asked.
    """
    apart = a.mean - b.mean
    few, many = sorted((a, b), key=lambda moments: moments.count)
    sigma, other = few.covariance, many.covariance
    traces = np.trace(sigma) + np.trace(other)
    return float(
        apart @ apart + traces - 2 * _roots(_sandwich(sigma, other, few.count > len(sigma)))
    )


def frechet(real: np.ndarray, drawn: np.ndarray) -> float:
    """The same for features (R, d) and (n, d). Fewer images than dimensions need no covariance: exact, and faster.

    Centred X of n images is a factor itself, Σ = XᵀX/(n−1); the roots are the singular values of YXᵀ, of which there
    are n and not d.
    """
    if min(len(real), len(drawn)) >= real.shape[1]:
        return frechet_distance(Moments.of(real), Moments.of(drawn))
    few, many = sorted((real.astype(np.float64), drawn.astype(np.float64)), key=len)
    apart = few.mean(axis=0) - many.mean(axis=0)
    x, y = ((z - z.mean(axis=0)) / np.sqrt(len(z) - 1) for z in (few, many))
    cross = y @ x.T  # (m, n)
    return float(apart @ apart + (x * x).sum() + (y * y).sum() - 2 * _roots(cross.T @ cross))


def _sandwich(sigma: np.ndarray, other: np.ndarray, full: bool) -> np.ndarray:
    """FᵀΣ′F for Σ = FFᵀ and Σ′, its lower triangle: F is Cholesky's, or of a singular Σ the k directions it has.

    The triangle's zeros are left out of the products panel by panel: half the work.
    """
    d = len(sigma)
    if full:
        try:
            f = np.linalg.cholesky(sigma)
        except np.linalg.LinAlgError:
            pass  # a feature that never changes, or one made of others
        else:
            half, found = np.empty_like(sigma), np.zeros_like(sigma)
            panels = [slice(start, start + PANEL) for start in range(0, d, PANEL)]
            for some in panels:
                half[:, some] = other[:, some.start :] @ f[some.start :, some]
            for some in panels:
                found[some, : some.stop] = f[some.start :, some].T @ half[some.start :, : some.stop]
            return found
    if not np.isfinite(sigma).all():
        return sigma
    values, vectors = np.linalg.eigh(sigma)
    kept = values > values[-1] * d * np.finfo(np.float64).eps
    f = vectors[:, kept] * np.sqrt(values[kept])  # (d, k)
    return f.T @ (other @ f)


def _roots(gram: np.ndarray) -> float:
    """The sum of the roots of a symmetric matrix's eigenvalues, from its lower triangle; what is below 0 is rounding."""
    if not np.isfinite(gram).all():
        return float("nan")  # as is the distance; the solver would raise
    return float(np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0)).sum()) if gram.size else 0.0


def needed(dimension: int) -> int:
    """The fewest images of each kind FID is given for: 2,000, and more than the features' dimensions."""
    return max(LEAST, dimension + 1)


def refusal(images: int, dimension: int, kind: str = "") -> WorkError | None:
    """Why FID over so many images of so many features is refused; None where it is not."""
    if images >= needed(dimension):
        return None
    what = f"{images:,} {kind} images" if kind else f"{images:,} images"
    action = "Use kid." if kind == "real" else "Use kid, or raise evaluate.images."
    return WorkError(
        f"FID over {what} would mislead; it needs at least {needed(dimension):,}.", action
    )


def fid_draws(
    real: np.ndarray,
    drawn: np.ndarray,
    draws: int = MARGIN_DRAWS,
    seed: int = 0,
    groups: Sides | None = None,
) -> np.ndarray:
    """FID of bootstrap samples by `both_sides`, (B,): for `interval`, or two models' for `paired_draws`.

    Each costs (R + n)·d² and a distance: seconds at 128 features, hours at 2,048 × 1,000 draws. A resample has fewer
    different images, so its FID is higher; `interval` takes that shift out.
    """
    found = []
    for wr, wd in zip(*both_sides(len(real), len(drawn), draws, seed, groups), strict=True):
        parts = (np.repeat(x, w.astype(int), axis=0) for x, w in ((real, wr), (drawn, wd)))
        found.append(frechet_distance(*(Moments.of(x) for x in parts)))
    return np.array(found)


def floor(real: np.ndarray, drawn: int, seed: int = 0) -> float:
    """The FID of so many drawn images and these real ones where the truth is 0: what too few images make alone.

    The mean over halves of the real images, brought to the sizes in use by 1/n + 1/m, FID's bias of first order
    (Chong & Forsyth, arXiv 1911.07023).
    """
    rng, half, found = np.random.default_rng(seed), len(real) // 2, []
    for _ in range(SPLITS):
        order = rng.permutation(len(real))
        found.append(frechet(real[order[:half]], real[order[half : 2 * half]]))
    return float(np.mean(found)) * half / 2 * (1 / drawn + 1 / len(real))


class Fid(Metric):
    """FID between the held-out images and images drawn from their captions, over the scorer's features."""

    reads: ClassVar[frozenset[str]] = frozenset({"generated_features", "real_features"})
    figures: ClassVar[Mapping[str, FigureSpec]] = {"fid": FigureSpec("FID", "generation", "lower")}

    def check(self, eval_set: EvalSet) -> None:
        for images, kind in ((eval_set.evaluate.images, ""), (len(eval_set.rows), "real")):
            if problem := refusal(images, eval_set.extractor.features, kind):
                raise problem

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        return {"fid": frechet(outputs.real_features, outputs.generated_features)}

    def references(self, outputs: ModelOutputs) -> dict[str, dict[str, float]]:
        return {"real": {"fid": floor(outputs.real_features, len(outputs.generated_features))}}

    def bootstrap(self, outputs: ModelOutputs) -> dict[str, BootstrapSamples]:
        eval_set, drawn = outputs.eval_set, outputs.generated_features
        draws = MARGIN_DRAWS if drawn.shape[1] <= SMALL else LARGE_DRAWS
        found = fid_draws(outputs.real_features, drawn, draws, eval_set.fold, eval_set.image_groups)
        return {"fid": BootstrapSamples(found, len(drawn), eval_set.products_drawn)}

    def notes(self, outputs: ModelOutputs) -> list[str]:
        drawn, real, seen = (
            len(outputs.generated_features),
            len(outputs.real_features),
            outputs.eval_set.extractor,
        )
        said = [
            f"FID over {seen.features} features of {seen.name}{seen.caution}. "
            f"{drawn:,} drawn images against {real:,} real ones."
        ]
        if min(drawn, real) < UNBIASED:
            said.append(
                f"Fewer than {UNBIASED:,} images make FID too high; the column for real images says by how much. "
                "Compare only figures over the same number."
            )
        return said
