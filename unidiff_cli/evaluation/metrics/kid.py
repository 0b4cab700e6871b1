"""Kernel inception distance, KID (Bińkowski et al., arXiv 1801.01401).

How far generated images are from real ones, by a kernel over features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from unidiff_cli.evaluation.metrics import VERDICT_IMAGES, FeatureMetric, FeatureOutputs
from unidiff_cli.evaluation.mmd import bootstrap_mmd, check_images, null_level, unbiased_mmd
from unidiff_cli.evaluation.results import BootstrapSamples
from unidiff_cli.evaluation.statistics import SAMPLES, Sides, both_sides
from unidiff_cli.reports.schema import FigureSpec

if TYPE_CHECKING:
    from unidiff_cli.evaluation.eval_set import EvalSet

# clean-fid's.
SUBSETS, SUBSET_SIZE = 100, 1000
# Images, below which a note says that the figure is noisy.
ENOUGH = 2000


def kernel_distance(
    real: np.ndarray,
    generated: np.ndarray,
    rng: Any,
    subsets: int = SUBSETS,
    size: int = SUBSET_SIZE,
) -> float:
    """KID of features (R, d) and (n, d).

    Where both have more than `size` images it is the mean over random subsets, as clean-fid's
    `kernel_distance` takes it: equal to it for the same numpy RandomState. With fewer, every image
    is used once, which is the same estimate without the subsets' noise.
    """
    if min(len(real), len(generated)) <= size:
        return unbiased_mmd(real, generated)
    total = 0.0
    for _ in range(subsets):
        x = generated[rng.choice(len(generated), size, replace=False)]
        y = real[rng.choice(len(real), size, replace=False)]
        total += unbiased_mmd(x, y)
    return total / subsets


def bootstrap_kid(
    real: np.ndarray,
    generated: np.ndarray,
    samples: int = SAMPLES,
    seed: int = 0,
    groups: Sides | None = None,
) -> np.ndarray:
    """KID of bootstrap samples by `both_sides`, (B,)."""
    counts = both_sides(len(real), len(generated), samples, seed, groups)
    return bootstrap_mmd(real, generated, *counts)


class Kid(FeatureMetric):
    """KID between the held-out images and images generated from their captions."""

    place: ClassVar[int] = 40
    in_ablations: ClassVar[bool] = True
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        "kid": FigureSpec("KID", "generation", "lower", verdict_images=VERDICT_IMAGES)
    }

    def check(self, eval_set: EvalSet) -> None:
        check_images(eval_set, "KID")

    def compute_by(self, features: FeatureOutputs) -> dict[str, float]:
        rng = np.random.RandomState(features.eval_set.evaluate.seed)
        return {"kid": kernel_distance(features.real, features.generated, rng)}

    def references_by(self, features: FeatureOutputs) -> dict[str, dict[str, float]]:
        if len(features.real) < 4:
            return {}
        rng = np.random.RandomState(features.eval_set.evaluate.seed)
        level = null_level(unbiased_mmd, features.real, len(features.generated), rng)
        return {"null_level": {"kid": level}}

    def bootstrap_by(self, features: FeatureOutputs) -> dict[str, BootstrapSamples]:
        eval_set, generated = features.eval_set, features.generated
        samples = bootstrap_kid(
            features.real, generated, seed=eval_set.fold, groups=eval_set.image_groups
        )
        groups = eval_set.generated_group_count
        return {"kid": BootstrapSamples(samples, len(generated), groups)}

    def notes_by(self, features: FeatureOutputs) -> list[str]:
        generated, real = len(features.generated), len(features.real)
        eval_set, extractor = features.eval_set, features.extractor
        notes = [
            f"KID over {extractor.feature_size} features of {extractor.name} "
            f"at {extractor.image_size} px{extractor.caution}.",
            f"{generated:,} generated images against {real:,} real ones of the "
            f"{eval_set.evaluate.split} split. The null level is the typical size of "
            "KID between as many real images and real ones, where the truth is 0.",
        ]
        if min(generated, real) < ENOUGH:
            notes.append(
                f"Fewer than {ENOUGH:,} images: unbiased, but noisy. Trust only large differences."
            )
        return notes
