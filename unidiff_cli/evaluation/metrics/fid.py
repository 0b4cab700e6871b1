"""Fréchet inception distance, FID (Heusel et al., arXiv 1706.08500).

How far generated images are from real ones, by the Gaussians that fit their features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation.metrics import VERDICT_IMAGES, FeatureMetric, FeatureOutputs
from unidiff_cli.evaluation.results import BootstrapSamples
from unidiff_cli.evaluation.statistics import Sides, both_sides
from unidiff_cli.reports.schema import FigureSpec

if TYPE_CHECKING:
    from unidiff_cli.evaluation.eval_set import EvalSet

# Images of each kind, below which FID is refused.
MIN_IMAGES = 2_000
# Images, below which a note says that the figure is too high.
UNBIASED = 10_000
# Rows of features at a time, and columns of a product.
BLOCK, PANEL = 1024, 256
# Halvings of the real images that the expected FID is the mean of.
SPLITS = 5
# Resamples of SMALL features or fewer, and of more: the cost is their number cubed.
SMALL, RESAMPLES, LARGE_RESAMPLES = 256, 200, 40


class Moments:
    """The count, mean (d,) and covariance (d, d) of features: d² numbers however many images.

    Blocks are joined by Chan's update of the scatter Σ(x−mean)(x−mean)ᵀ, in double, which unlike
    Σxxᵀ − n·mean·meanᵀ loses no digits to a large mean. Chan, Golub & LeVeque, The American
    Statistician 37 (1983) 242.
    """

    def __init__(self, dimension: int) -> None:
        self.count = 0
        self.mean = np.zeros(dimension)
        self.scatter = np.zeros((dimension, dimension))

    @classmethod
    def of(cls, features: np.ndarray) -> Moments:
        """The moments of features (n, d)."""
        moments = cls(features.shape[1])
        moments.update(features)
        return moments

    def update(self, features: np.ndarray) -> None:
        """Adds features (n, d), n ≥ 0."""
        for start in range(0, len(features), BLOCK):
            x = features[start : start + BLOCK].astype(np.float64)
            mean = x.mean(axis=0)
            x -= mean
            self._join(len(x), mean, x.T @ x)

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
    """‖μ_a − μ_b‖² + tr Σ_a + tr Σ_b − 2 tr(Σ_aΣ_b)^½ of moments of at least 2 features each.

    tr(Σ_aΣ_b)^½ is the sum of the roots of the eigenvalues of FᵀΣ_aF for any Σ_b = FFᵀ: symmetric,
    so no complex square root, nothing added to a diagonal, and no SciPy.
    """
    apart = a.mean - b.mean
    few, many = sorted((a, b), key=lambda moments: moments.count)
    sigma, other = few.covariance, many.covariance
    traces = np.trace(sigma) + np.trace(other)
    roots = _root_sum(_sandwich(sigma, other, few.count > len(sigma)))
    return float(apart @ apart + traces - 2 * roots)


def frechet(real: np.ndarray, generated: np.ndarray) -> float:
    """The Fréchet distance of features (R, d) and (n, d).

    Fewer images than dimensions need no covariance: exact, and faster. Centred X of n images is a
    factor itself, Σ = XᵀX/(n−1); the roots are the singular values of YXᵀ, of which there are n
    and not d.
    """
    if min(len(real), len(generated)) >= real.shape[1]:
        return frechet_distance(Moments.of(real), Moments.of(generated))
    few, many = sorted((real.astype(np.float64), generated.astype(np.float64)), key=len)
    apart = few.mean(axis=0) - many.mean(axis=0)
    x, y = ((z - z.mean(axis=0)) / np.sqrt(len(z) - 1) for z in (few, many))
    cross = y @ x.T  # (m, n)
    return float(apart @ apart + (x * x).sum() + (y * y).sum() - 2 * _root_sum(cross.T @ cross))


def _sandwich(sigma: np.ndarray, other: np.ndarray, full: bool) -> np.ndarray:
    """The lower triangle of FᵀΣ′F for Σ = FFᵀ and Σ′.

    F is Cholesky's factor, or of a singular Σ the k directions that it has. The triangle's zeros
    are left out of the products panel by panel: half the work.
    """
    d = len(sigma)
    if full:
        try:
            f = np.linalg.cholesky(sigma)
        except np.linalg.LinAlgError:
            # A feature that never changes, or one made of others.
            pass
        else:
            half, product = np.empty_like(sigma), np.zeros_like(sigma)
            panels = [slice(start, start + PANEL) for start in range(0, d, PANEL)]
            for panel in panels:
                half[:, panel] = other[:, panel.start :] @ f[panel.start :, panel]
            for panel in panels:
                product[panel, : panel.stop] = (
                    f[panel.start :, panel].T @ half[panel.start :, : panel.stop]
                )
            return product
    if not np.isfinite(sigma).all():
        return sigma
    values, vectors = np.linalg.eigh(sigma)
    positive = values > values[-1] * d * np.finfo(np.float64).eps
    f = vectors[:, positive] * np.sqrt(values[positive])  # (d, k)
    return f.T @ (other @ f)


def _root_sum(gram: np.ndarray) -> float:
    """The sum of the roots of a symmetric matrix's eigenvalues, from its lower triangle.

    Eigenvalues below 0 are rounding.
    """
    if not np.isfinite(gram).all():
        # As is the distance then; the solver would raise.
        return float("nan")
    return float(np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0)).sum()) if gram.size else 0.0


def images_needed(feature_size: int) -> int:
    """The fewest images of each kind that FID is given for: 2,000, and more than features."""
    return max(MIN_IMAGES, feature_size + 1)


def refusal(images: int, feature_size: int, kind: str = "") -> WorkError | None:
    """The error for too few images, which `kind` may name; None where there are enough."""
    if images >= images_needed(feature_size):
        return None
    what = f"{images:,} {kind} images" if kind else f"{images:,} images"
    action = "Use kid." if kind == "real" else "Use kid, or raise evaluate.images."
    return WorkError(
        f"FID over {what} would mislead; it needs at least {images_needed(feature_size):,}.", action
    )


def bootstrap_fid(
    real: np.ndarray,
    generated: np.ndarray,
    samples: int = RESAMPLES,
    seed: int = 0,
    groups: Sides | None = None,
) -> np.ndarray:
    """FID of bootstrap samples by `both_sides`, (B,).

    Each costs (R + n)·d² and a distance: seconds at 128 features, hours at 2,048 × 1,000 resamples.
    A resample has fewer different images, so its FID is higher; `interval` takes that shift out.
    """
    distances = []
    for wr, wg in zip(*both_sides(len(real), len(generated), samples, seed, groups), strict=True):
        parts = (np.repeat(x, w.astype(int), axis=0) for x, w in ((real, wr), (generated, wg)))
        distances.append(frechet_distance(*(Moments.of(x) for x in parts)))
    return np.array(distances)


def null_level(real: np.ndarray, generated_count: int, seed: int = 0) -> float:
    """The expected FID where the truth is 0, for these numbers of images.

    The mean over halves of the real images, scaled to the sizes in use by 1/n + 1/m, FID's bias of
    first order (Chong & Forsyth, arXiv 1911.07023).
    """
    rng, half, distances = np.random.default_rng(seed), len(real) // 2, []
    for _ in range(SPLITS):
        order = rng.permutation(len(real))
        distances.append(frechet(real[order[:half]], real[order[half : 2 * half]]))
    return float(np.mean(distances)) * half / 2 * (1 / generated_count + 1 / len(real))


class Fid(FeatureMetric):
    """FID between the held-out images and images generated from their captions."""

    place: ClassVar[int] = 50
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        "fid": FigureSpec("FID", "generation", "lower", verdict_images=VERDICT_IMAGES)
    }

    def check(self, eval_set: EvalSet) -> None:
        most = max(extractor.feature_size for extractor in eval_set.extractors.values())
        for images, kind in ((eval_set.evaluate.images, ""), (len(eval_set.rows), "real")):
            if problem := refusal(images, most, kind):
                raise problem

    def compute_by(self, features: FeatureOutputs) -> dict[str, float]:
        return {"fid": frechet(features.real, features.generated)}

    def references_by(self, features: FeatureOutputs) -> dict[str, dict[str, float]]:
        # Under `real`: a bias that real images have too, and not a spread around 0.
        level = null_level(features.real, len(features.generated))
        return {"real": {"fid": level}}

    def bootstrap_by(self, features: FeatureOutputs) -> dict[str, BootstrapSamples]:
        eval_set, generated = features.eval_set, features.generated
        resamples = RESAMPLES if generated.shape[1] <= SMALL else LARGE_RESAMPLES
        samples = bootstrap_fid(
            features.real, generated, resamples, eval_set.fold, eval_set.image_groups
        )
        groups = eval_set.generated_group_count
        return {"fid": BootstrapSamples(samples, len(generated), groups)}

    def notes_by(self, features: FeatureOutputs) -> list[str]:
        generated, real = len(features.generated), len(features.real)
        extractor = features.extractor
        notes = [
            f"FID over {extractor.feature_size} features of {extractor.name}{extractor.caution}. "
            f"{generated:,} generated images against {real:,} real ones."
        ]
        if min(generated, real) < UNBIASED:
            notes.append(
                f"Fewer than {UNBIASED:,} images make FID too high; the column for real images "
                "says by how much. Compare only figures over the same number."
            )
        return notes
