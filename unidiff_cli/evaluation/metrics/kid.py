"""Kernel inception distance (Bińkowski et al., arXiv 1801.01401): how far drawn images are from real ones."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.results import BootstrapSamples, FigureSpec
from unidiff_cli.evaluation.statistics import DRAWS, Sides, both_sides

if TYPE_CHECKING:
    from unidiff_cli.evaluation.eval_set import EvalSet
    from unidiff_cli.evaluation.outputs import ModelOutputs


from unidiff_cli.evaluation.mmd import mmd_draws, unbiased_mmd

SUBSETS, SUBSET_SIZE = 100, 1000  # clean-fid's
ENOUGH = 2000  # images, below which the figure says how few there were


def kernel_distance(
    real: np.ndarray, drawn: np.ndarray, rng: Any, subsets: int = SUBSETS, size: int = SUBSET_SIZE
) -> float:
    """KID. Where both sides have more than `size` images the mean over random subsets, as clean-fid's
    `kernel_distance` takes it (equal to it, draw by draw, for the same numpy RandomState); with fewer, every
    image is used once, which is the same estimate without the subsets' noise."""
    if min(len(real), len(drawn)) <= size:
        return unbiased_mmd(real, drawn)
    found = 0.0
    for _ in range(subsets):
        x = drawn[rng.choice(len(drawn), size, replace=False)]
        y = real[rng.choice(len(real), size, replace=False)]
        found += unbiased_mmd(x, y)
    return found / subsets


def noise(real: np.ndarray, drawn: int, rng: Any, splits: int = 20) -> float:
    """The typical size of KID where the truth is 0, for so many drawn images and these real ones.

    The root mean square between disjoint halves of the real images (at least 4), brought to the sizes in use: of
    equal distributions the estimate spreads as 1/n + 1/m (measured on luma, n = 12 … 230: constant within 6 %).
    """
    half, found = min(len(real) // 2, SUBSET_SIZE), []
    for _ in range(splits):
        order = rng.permutation(len(real))
        found.append(unbiased_mmd(real[order[:half]], real[order[half : 2 * half]]))
    return sqrt(float(np.mean(np.square(found)))) * half / 2 * (1 / drawn + 1 / len(real))


def kid_draws(
    real: np.ndarray,
    drawn: np.ndarray,
    draws: int = DRAWS,
    seed: int = 0,
    groups: Sides | None = None,
) -> np.ndarray:
    """Bootstrap figures of KID, (B,), by `both_sides`: for `interval`, or two models' for `paired_draws`."""
    return mmd_draws(real, drawn, *both_sides(len(real), len(drawn), draws, seed, groups))


class Kid(Metric):
    """KID between the held-out images and images drawn from their captions, over the scorer's features."""

    reads: ClassVar[frozenset[str]] = frozenset({"generated_features", "real_features"})
    figures: ClassVar[Mapping[str, FigureSpec]] = {"kid": FigureSpec("KID", "generation", "lower")}

    def check(self, eval_set: EvalSet) -> None:
        if eval_set.evaluate.images < 2 or len(eval_set.rows) < 2:
            few = f"{eval_set.evaluate.images} drawn and {len(eval_set.rows)} real"
            raise WorkError(
                f"KID needs 2 images of each kind, and there are {few}.",
                "Raise evaluate.images, or leave kid out.",
            )

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        rng = np.random.RandomState(outputs.eval_set.evaluate.seed)
        return {"kid": kernel_distance(outputs.real_features, outputs.generated_features, rng)}

    def references(self, outputs: ModelOutputs) -> dict[str, dict[str, float]]:
        if len(outputs.real_features) < 4:
            return {}
        rng = np.random.RandomState(outputs.eval_set.evaluate.seed)
        return {
            "noise": {"kid": noise(outputs.real_features, len(outputs.generated_features), rng)}
        }

    def bootstrap(self, outputs: ModelOutputs) -> dict[str, BootstrapSamples]:
        eval_set, drawn = outputs.eval_set, outputs.generated_features
        found = kid_draws(
            outputs.real_features, drawn, seed=eval_set.fold, groups=eval_set.image_groups
        )
        return {"kid": BootstrapSamples(found, len(drawn), eval_set.products_drawn)}

    def notes(self, outputs: ModelOutputs) -> list[str]:
        drawn, real, seen = (
            len(outputs.generated_features),
            len(outputs.real_features),
            outputs.eval_set.extractor,
        )
        said = [
            f"KID over {seen.features} features of {seen.name} at {seen.image_size} px{seen.caution}.",
            f"{drawn:,} drawn images against {real:,} real ones of the {outputs.eval_set.evaluate.split} split. The column for "
            "real images is the typical size of KID between as many real images and real ones, where the truth is 0.",
        ]
        if min(drawn, real) < ENOUGH:
            said.append(
                f"Fewer than {ENOUGH:,} images: unbiased, but noisy. Trust large differences only."
            )
        return said
