"""Precision and recall: whether generated images are like real ones, and cover all their kinds.

Precision and recall are Kynkäänniemi's (arXiv 1904.06991), density and coverage Naeem's (arXiv
2002.09797).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation.metrics import VERDICT_IMAGES, FeatureMetric, FeatureOutputs
from unidiff_cli.evaluation.results import PerItem
from unidiff_cli.reports.schema import FigureSpec

if TYPE_CHECKING:
    from unidiff_cli.evaluation.eval_set import EvalSet

# Neighbours, Kynkäänniemi's; Naeem's code takes 5.
K = 3
# Images, below which a note says that recall depends on their number.
ENOUGH = 1000
# Distances in memory at once: 34 MB.
BLOCK = 2**22


class Manifolds(NamedTuple):
    """Which images lie in each other's balls; the figures are means of these values.

    `precise` (n,) bool: a generated image lies in some real image's ball; `dense` (n,) float: in
    how many real balls it lies, over k; `recalled` (R,) bool: a real image lies in some generated
    image's ball; `covered` (R,) bool: a real image's ball holds some generated image.
    """

    precise: np.ndarray
    dense: np.ndarray
    recalled: np.ndarray
    covered: np.ndarray


def radii(x: np.ndarray, k: int = K) -> np.ndarray:
    """Squared distance of each of (n, d) to its k-th nearest other, (n,)."""
    distances, squares = np.empty(len(x)), (x * x).sum(axis=1)
    rows = max(1, BLOCK // len(x))
    for start in range(0, len(x), rows):
        block = _squared_distances(x[start : start + rows], x, squares)  # (b, n)
        diagonal = np.arange(len(block))
        block[diagonal, diagonal + start] = np.inf
        distances[start : start + rows] = np.partition(block, k - 1, axis=1)[:, k - 1]
    return distances


def _squared_distances(x: np.ndarray, y: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Squared distances (b, m) of (b, d) and (m, d) with Σy² (m,)."""
    distances = x @ y.T
    distances *= -2
    distances += squares
    distances += (x * x).sum(axis=1)[:, None]
    return np.maximum(distances, 0, out=distances)


def manifolds(real: np.ndarray, generated: np.ndarray, k: int = K) -> Manifolds:
    """Which of features (R, d), (n, d) lie in each other's balls.

    A ball reaches as far as its image's k-th neighbour of its kind. An image on a ball's edge is
    inside, as in the paper and torch-fidelity; prdc leaves it out, which differs only for copies.
    In blocks: memory is O(R + n). Raises ValueError for k images or fewer of a kind.
    """
    if min(len(real), len(generated)) <= k:
        raise ValueError(
            f"{len(real)} real and {len(generated)} generated images have no {k}-th neighbour each"
        )
    # Centred: the distances stay the same and keep more digits.
    centre = real.mean(axis=0, dtype=np.float64)
    x, y = real.astype(np.float64) - centre, generated.astype(np.float64) - centre
    real_radii, generated_radii = radii(x, k), radii(y, k)
    balls = np.zeros(len(y), int)
    recalled, covered = np.zeros(len(x), bool), np.zeros(len(x), bool)
    squares, rows = (y * y).sum(axis=1), max(1, BLOCK // len(y))
    for start in range(0, len(x), rows):
        block = slice(start, start + rows)
        distances = _squared_distances(x[block], y, squares)  # (b, n)
        inside = distances <= real_radii[block, None]
        balls += inside.sum(axis=0)
        covered[block] = inside.any(axis=1)
        recalled[block] = (distances <= generated_radii).any(axis=1)
    return Manifolds(balls > 0, balls / k, recalled, covered)


def figures(values: Manifolds) -> dict[str, float]:
    """Precision, recall, density and coverage."""
    return {
        "precision": float(values.precise.mean()),
        "recall": float(values.recalled.mean()),
        "density": float(values.dense.mean()),
        "coverage": float(values.covered.mean()),
    }


def real_figures(real: np.ndarray, k: int = K, seed: int = 0) -> dict[str, float]:
    """The figures of one half of real features (R, d), as if generated, against the other."""
    order, half = np.random.default_rng(seed).permutation(len(real)), len(real) // 2
    return figures(manifolds(real[order[:half]], real[order[half : 2 * half]], k))


def _spec(label: str, percent: bool = True) -> FigureSpec:
    return FigureSpec(
        label, "generation", "higher", percent, headline=False, verdict_images=VERDICT_IMAGES
    )


class PrecisionRecall(FeatureMetric):
    """The share of generated images that are like real ones, and of real ones that they cover."""

    place: ClassVar[int] = 100
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        "image_precision": _spec("Precision of generated images"),
        "image_recall": _spec("Recall of generated images"),
        "image_density": _spec("Density of generated images", percent=False),
        "image_coverage": _spec("Coverage of real images"),
    }

    def check(self, eval_set: EvalSet) -> None:
        generated, real = eval_set.evaluate.images, len(eval_set.rows)
        if min(generated, real) <= K:
            raise WorkError(
                f"Precision and recall of images need {K + 1} of each kind, "
                f"and there are {generated} generated and {real} real.",
                "Raise evaluate.images, or leave precision_recall out.",
            )

    def compute_by(self, features: FeatureOutputs) -> dict[str, float]:
        return _by_key(figures(self._manifolds(features)))

    def references_by(self, features: FeatureOutputs) -> dict[str, dict[str, float]]:
        real = features.real
        return {"real": _by_key(real_figures(real))} if len(real) >= 2 * (K + 1) else {}

    def per_item_by(self, features: FeatureOutputs) -> dict[str, PerItem]:
        values = self._manifolds(features)
        real_groups, generated_groups = features.eval_set.image_groups
        return {
            "image_precision": PerItem(values.precise.astype(float), generated_groups),
            "image_density": PerItem(values.dense.astype(float), generated_groups),
            "image_recall": PerItem(values.recalled.astype(float), real_groups),
            "image_coverage": PerItem(values.covered.astype(float), real_groups),
        }

    def _manifolds(self, features: FeatureOutputs) -> Manifolds:
        return features.outputs.remember(
            self,
            f"manifolds.{features.name}",
            lambda: manifolds(features.real, features.generated),
        )

    def notes_by(self, features: FeatureOutputs) -> list[str]:
        generated, real = len(features.generated), len(features.real)
        extractor = features.extractor
        notes = [
            f"Precision, recall, density and coverage with {K} neighbours over "
            f"{extractor.feature_size} features of {extractor.name}, {generated:,} generated "
            f"images against {real:,} real ones. The column for real images is one half of them "
            "against the other.",
            "The intervals hold the other side's images fixed; "
            "they are too narrow by what those would add.",
        ]
        if min(generated, real) < ENOUGH:
            notes.append(
                f"Fewer than {ENOUGH:,} images: "
                "recall depends on their number more than on the model."
            )
        if max(generated, real) > 2 * min(generated, real):
            notes.append(
                "Unequal numbers of images move recall and coverage: compare only equal set-ups."
            )
        return notes


def _by_key(values: Mapping[str, float]) -> dict[str, float]:
    return {f"image_{name}": value for name, value in values.items()}
