"""Kernel inception distance (Bińkowski et al., arXiv 1801.01401): how far drawn pictures are from real ones."""

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
ENOUGH = 2000  # pictures, below which the figure says how few there were


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
    """KID between the held-out pictures and pictures drawn from their captions, over the scorer's features."""

    reads: ClassVar[frozenset[str]] = frozenset({"generated_features", "real_features"})
    figures: ClassVar[Mapping[str, FigureSpec]] = {"kid": FigureSpec("KID", "pictures", "lower")}

    def refuse(self, held: EvalSet) -> None:
        if held.evaluate.images < 2 or len(held.rows) < 2:
            few = f"{held.evaluate.images} drawn and {len(held.rows)} real"
            raise WorkError(
                f"KID needs 2 pictures of each kind, and there are {few}.",
                "Raise evaluate.images, or leave kid out.",
            )

    def compute(self, evidence: ModelOutputs) -> dict[str, float]:
        rng = np.random.RandomState(evidence.held.evaluate.seed)
        return {"kid": kernel_distance(evidence.real_features, evidence.generated_features, rng)}

    def references(self, evidence: ModelOutputs) -> dict[str, dict[str, float]]:
        if len(evidence.real_features) < 4:
            return {}
        rng = np.random.RandomState(evidence.held.evaluate.seed)
        return {
            "noise": {"kid": noise(evidence.real_features, len(evidence.generated_features), rng)}
        }

    def draws(self, evidence: ModelOutputs) -> dict[str, BootstrapSamples]:
        held, drawn = evidence.held, evidence.generated_features
        found = kid_draws(evidence.real_features, drawn, seed=held.fold, groups=held.picture_groups)
        return {"kid": BootstrapSamples(found, len(drawn), held.products_drawn)}

    def notes(self, evidence: ModelOutputs) -> list[str]:
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
            said.append(
                f"Fewer than {ENOUGH:,} pictures: unbiased, but noisy. Trust large differences only."
            )
        return said
