"""CMMD (Jayasumana et al., arXiv 2401.09603): how far drawn images are from real ones, by CLIP embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation.extractors import scorer
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.mmd import mmd_draws
from unidiff_cli.evaluation.results import BootstrapSamples, FigureSpec
from unidiff_cli.evaluation.statistics import DRAWS, Sides, both_sides

if TYPE_CHECKING:
    from unidiff_cli.evaluation.eval_set import EvalSet
    from unidiff_cli.evaluation.outputs import ModelOutputs


SIGMA, SCALE = 10, 1000  # the paper's
MARGIN_DRAWS = 200
MOST = 1000  # images of a half, where the noise is measured


def gaussian(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """exp(−‖a − b‖²/2σ²) of every pair of (b, D) and (m, D), σ = 10."""
    squared = (x * x).sum(axis=1)[:, None] + (y * y).sum(axis=1) - 2 * x @ y.T
    return np.exp(-np.maximum(squared, 0) / (2 * SIGMA**2))


def cmmd(real: np.ndarray, drawn: np.ndarray, biased: bool = False) -> float:
    """1000 · squared MMD between unit embeddings (R, D) and (n, D), n and R ≥ 2.

    Unbiased: an image is no pair with itself, so the figure does not fall with the number of images and may be
    below 0. `biased=True` leaves the pairs in, as the authors' code does (google-research/cmmd, distance.py): that
    adds about 10 · trace(covariance) · (1/R + 1/n), which their 30,000 images hide and 500 do not.
    """
    found = SCALE * float(
        mmd_draws(real, drawn, np.ones((1, len(real))), np.ones((1, len(drawn))), gaussian)[0]
    )
    if biased:  # (S − n)/(n(n−1)) is the mean without the diagonal of ones, S/n² with it
        for z in (real, drawn):
            found += SCALE * (1 - _mean_kernel(z)) / len(z)
    return found


def _mean_kernel(z: np.ndarray) -> float:
    """The mean kernel of two different images of (n, D)."""
    z, total = z.astype(np.float64), 0.0
    for start in range(0, len(z), 1024):
        total += float(gaussian(z[start : start + 1024], z).sum())
    return (total - len(z)) / (len(z) * (len(z) - 1))


def cmmd_draws(
    real: np.ndarray,
    drawn: np.ndarray,
    draws: int = DRAWS,
    seed: int = 0,
    groups: Sides | None = None,
) -> np.ndarray:
    """CMMD, unbiased, of bootstrap samples by `both_sides`, (B,): for `interval`, or two models' for `paired_draws`."""
    return SCALE * mmd_draws(
        real, drawn, *both_sides(len(real), len(drawn), draws, seed, groups), gaussian
    )


def floor(real: np.ndarray, drawn: int, splits: int = 20, seed: int = 0) -> float:
    """The typical size of CMMD where the truth is 0, for so many drawn images and these real ones (at least 4).

    The root mean square between disjoint halves of the real images, brought to the sizes in use by 1/n + 1/m.
    """
    rng, half, found = np.random.default_rng(seed), min(len(real) // 2, MOST), []
    for _ in range(splits):
        order = rng.permutation(len(real))
        found.append(cmmd(real[order[:half]], real[order[half : 2 * half]]))
    return float(np.sqrt(np.mean(np.square(found)))) * half / 2 * (1 / drawn + 1 / len(real))


class Cmmd(Metric):
    """CMMD between the held-out images and images drawn from their captions, over the scorer's embeddings."""

    reads: ClassVar[frozenset[str]] = frozenset({"generated_embeds", "real_embeds"})
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        "cmmd": FigureSpec("CMMD", "generation", "lower")
    }

    def check(self, eval_set: EvalSet) -> None:
        if eval_set.evaluate.images < 2 or len(eval_set.rows) < 2:
            raise WorkError(
                f"CMMD needs 2 images of each kind, and there are {eval_set.evaluate.images} drawn and {len(eval_set.rows)} real.",
                "Raise evaluate.images, or leave cmmd out.",
            )

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        return {"cmmd": cmmd(outputs.real_embeds, outputs.generated_embeds)}

    def references(self, outputs: ModelOutputs) -> dict[str, dict[str, float]]:
        real, drawn = outputs.real_embeds, outputs.generated_embeds
        return {"noise": {"cmmd": floor(real, len(drawn))}} if len(real) >= 4 else {}

    def bootstrap(self, outputs: ModelOutputs) -> dict[str, BootstrapSamples]:
        eval_set, drawn = outputs.eval_set, outputs.generated_embeds
        found = cmmd_draws(
            outputs.real_embeds, drawn, MARGIN_DRAWS, eval_set.fold, eval_set.image_groups
        )
        return {"cmmd": BootstrapSamples(found, len(drawn), eval_set.products_drawn)}

    def notes(self, outputs: ModelOutputs) -> list[str]:
        seen = scorer()
        return [
            f"CMMD over the embeddings of {seen.name}, not CLIP ViT-L/14: comparable only within this report. "
            f"Unbiased (it may be below 0), σ = {SIGMA}, ×{SCALE:,}; {len(outputs.generated_embeds):,} drawn images "
            f"against {len(outputs.real_embeds):,} real ones.",
            "With σ = 10 on unit vectors CMMD is close to the distance between the two means: it hardly sees variety "
            "that is lost around the same mean. Look at recall of images and diversity for that.",
        ]
