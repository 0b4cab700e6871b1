"""Precision and recall of drawn images (Kynkäänniemi et al., arXiv 1904.06991), density and coverage (Naeem et al.,
arXiv 2002.09797): are they like real ones, and are all kinds of real ones among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.results import FigureSpec, PerItem, once

if TYPE_CHECKING:
    from unidiff_cli.evaluation.eval_set import EvalSet
    from unidiff_cli.evaluation.outputs import ModelOutputs


K = 3  # neighbours, Kynkäänniemi's; Naeem's code takes 5
ENOUGH = 1000  # images, below which the figure says how few there were
BLOCK = 2**22  # distances held at once: 34 MB


class Manifolds(NamedTuple):
    """What every image says; the figures are means of these, and paired tests compare them."""

    precise: np.ndarray  # (n,) bool: a drawn image lies in some real image's ball
    dense: np.ndarray  # (n,) float: in how many real balls it lies, over k
    recalled: np.ndarray  # (R,) bool: a real image lies in some drawn image's ball
    covered: np.ndarray  # (R,) bool: a real image's ball holds some drawn image


def radii(x: np.ndarray, k: int = K) -> np.ndarray:
    """Squared distance of each of (n, d) to its k-th nearest other, (n,)."""
    found, squares = np.empty(len(x)), (x * x).sum(axis=1)
    rows = max(1, BLOCK // len(x))
    for start in range(0, len(x), rows):
        near = _squared(x[start : start + rows], x, squares)  # (b, n)
        own = np.arange(len(near))
        near[own, own + start] = np.inf
        found[start : start + rows] = np.partition(near, k - 1, axis=1)[:, k - 1]
    return found


def _squared(x: np.ndarray, y: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Squared distances (b, m) of (b, d) and (m, d) with Σy² (m,)."""
    found = x @ y.T
    found *= -2
    found += squares
    found += (x * x).sum(axis=1)[:, None]
    return np.maximum(found, 0, out=found)


def manifolds(real: np.ndarray, drawn: np.ndarray, k: int = K) -> Manifolds:
    """Which of features (R, d), (n, d) lie in each other's balls: as wide as the way to an image's k-th neighbour.

    An image on a ball's edge is inside, as in the paper and torch-fidelity; prdc leaves it out, which is the same
    but for copies. In blocks: memory is O(R + n). Raises ValueError for k images or fewer of a kind.
    """
    if min(len(real), len(drawn)) <= k:
        raise ValueError(
            f"{len(real)} real and {len(drawn)} drawn images have no {k}-th neighbour each"
        )
    centre = real.mean(axis=0, dtype=np.float64)  # distances stay, digits are won
    x, y = real.astype(np.float64) - centre, drawn.astype(np.float64) - centre
    wide, tight = radii(x, k), radii(y, k)
    within, recalled, covered = (
        np.zeros(len(y), int),
        np.zeros(len(x), bool),
        np.zeros(len(x), bool),
    )
    squares, rows = (y * y).sum(axis=1), max(1, BLOCK // len(y))
    for start in range(0, len(x), rows):
        some = slice(start, start + rows)
        apart = _squared(x[some], y, squares)  # (b, n)
        inside = apart <= wide[some, None]
        within += inside.sum(axis=0)
        covered[some] = inside.any(axis=1)
        recalled[some] = (apart <= tight).any(axis=1)
    return Manifolds(within > 0, within / k, recalled, covered)


def figures(found: Manifolds) -> dict[str, float]:
    """Precision, recall, density and coverage."""
    return {
        "precision": float(found.precise.mean()),
        "recall": float(found.recalled.mean()),
        "density": float(found.dense.mean()),
        "coverage": float(found.covered.mean()),
    }


def halves(real: np.ndarray, k: int = K, seed: int = 0) -> dict[str, float]:
    """The four figures of one half of real features (R, d) as if drawn, against the other half."""
    order, half = np.random.default_rng(seed).permutation(len(real)), len(real) // 2
    return figures(manifolds(real[order[:half]], real[order[half : 2 * half]], k))


class PrecisionRecall(Metric):
    """How many drawn images are like real ones, and how many kinds of real ones are drawn, by scorer features."""

    reads: ClassVar[frozenset[str]] = frozenset({"generated_features", "real_features"})
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        "image_precision": FigureSpec(
            "Precision of generated images", "generation", "higher", percent=True, headline=False
        ),
        "image_recall": FigureSpec(
            "Recall of generated images", "generation", "higher", percent=True, headline=False
        ),
        "image_density": FigureSpec("Density", "generation", "higher", headline=False),
        "image_coverage": FigureSpec(
            "Coverage", "generation", "higher", percent=True, headline=False
        ),
    }

    def check(self, eval_set: EvalSet) -> None:
        if min(eval_set.evaluate.images, len(eval_set.rows)) <= K:
            few = f"{eval_set.evaluate.images} drawn and {len(eval_set.rows)} real"
            raise WorkError(
                f"Precision and recall of images need {K + 1} of each kind, and there are {few}.",
                "Raise evaluate.images, or leave precision_recall out.",
            )

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        return _named(figures(self._found(outputs)))

    def references(self, outputs: ModelOutputs) -> dict[str, dict[str, float]]:
        real = outputs.real_features
        return {"real": _named(halves(real))} if len(real) >= 2 * (K + 1) else {}

    def per_item(self, outputs: ModelOutputs) -> dict[str, PerItem]:
        eval_set, found = outputs.eval_set, self._found(outputs)
        real, drawn = eval_set.image_groups
        values = {"precision": (found.precise, drawn), "density": (found.dense, drawn),
                  "recall": (found.recalled, real), "coverage": (found.covered, real)}  # fmt: skip
        return {
            f"image_{name}": PerItem(each.astype(float), groups)
            for name, (each, groups) in values.items()
        }

    @once
    def _found(self, outputs: ModelOutputs) -> Manifolds:
        return manifolds(outputs.real_features, outputs.generated_features)

    def notes(self, outputs: ModelOutputs) -> list[str]:
        drawn, real = len(outputs.generated_features), len(outputs.real_features)
        said = [
            f"Precision, recall, density and coverage with {K} neighbours over {outputs.eval_set.extractor.features} features of "
            f"{outputs.eval_set.extractor.name}, {drawn:,} drawn images against {real:,} real ones. The column for real images is "
            "one half of them against the other.",
            "The intervals hold the other side's images fixed; they are too narrow by what those would add.",
        ]
        if min(drawn, real) < ENOUGH:
            said.append(
                f"Fewer than {ENOUGH:,} images: recall depends on their number more than on the model."
            )
        if max(drawn, real) > 2 * min(drawn, real):
            said.append(
                "Unequal numbers of images move recall and coverage: compare only equal set-ups."
            )
        return said


def _named(found: Mapping[str, float]) -> dict[str, float]:
    return {f"image_{name}": float(value) for name, value in found.items()}
