"""CMMD (Jayasumana et al., arXiv 2401.09603).

How far generated images are from real ones, by a Gaussian kernel over CLIP embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unidiff_cli.evaluation.metrics import VERDICT_IMAGES, Metric
from unidiff_cli.evaluation.mmd import bootstrap_mmd, check_images, null_level
from unidiff_cli.evaluation.results import BootstrapSamples
from unidiff_cli.evaluation.statistics import SAMPLES, Sides, both_sides
from unidiff_cli.reports.schema import FigureSpec

if TYPE_CHECKING:
    from unidiff_cli.evaluation.eval_set import EvalSet
    from unidiff_cli.evaluation.outputs import ModelOutputs

# The paper's.
SIGMA, SCALE = 10, 1000
RESAMPLES = 200


def gaussian(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """exp(−‖a − b‖²/2σ²) of every pair of (b, D) and (m, D), σ = 10."""
    squared = (x * x).sum(axis=1)[:, None] + (y * y).sum(axis=1) - 2 * x @ y.T
    return np.exp(-np.maximum(squared, 0) / (2 * SIGMA**2))


def cmmd(real: np.ndarray, generated: np.ndarray) -> float:
    """1000 · squared MMD between unit embeddings (R, D) and (n, D), n and R ≥ 2.

    Unbiased: an image is no pair with itself, so the figure does not fall with the number of images
    and may be below 0. The authors' code leaves these pairs in (google-research/cmmd, distance.py):
    that adds about 10 · trace(covariance) · (1/R + 1/n), which their 30,000 images hide and 500 do
    not.
    """
    counts = np.ones((1, len(real))), np.ones((1, len(generated)))
    return SCALE * float(bootstrap_mmd(real, generated, *counts, gaussian)[0])


def bootstrap_cmmd(
    real: np.ndarray,
    generated: np.ndarray,
    samples: int = SAMPLES,
    seed: int = 0,
    groups: Sides | None = None,
) -> np.ndarray:
    """CMMD of bootstrap samples by `both_sides`, (B,)."""
    counts = both_sides(len(real), len(generated), samples, seed, groups)
    return SCALE * bootstrap_mmd(real, generated, *counts, gaussian)


class Cmmd(Metric):
    """CMMD between the held-out images and images generated from their captions, by the scorer."""

    place: ClassVar[int] = 60
    needs_generated_images: ClassVar[bool] = True
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        "cmmd": FigureSpec("CMMD", "generation", "lower", verdict_images=VERDICT_IMAGES)
    }

    def check(self, eval_set: EvalSet) -> None:
        check_images(eval_set, "CMMD")

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        return {"cmmd": cmmd(outputs.real_embeds, outputs.generated_embeds)}

    def references(self, outputs: ModelOutputs) -> dict[str, dict[str, float]]:
        real, generated = outputs.real_embeds, outputs.generated_embeds
        if len(real) < 4:
            return {}
        level = null_level(cmmd, real, len(generated), np.random.default_rng(0))
        return {"null_level": {"cmmd": level}}

    def bootstrap(self, outputs: ModelOutputs) -> dict[str, BootstrapSamples]:
        eval_set, generated = outputs.eval_set, outputs.generated_embeds
        samples = bootstrap_cmmd(
            outputs.real_embeds, generated, RESAMPLES, eval_set.fold, eval_set.image_groups
        )
        groups = eval_set.generated_group_count
        return {"cmmd": BootstrapSamples(samples, len(generated), groups)}

    def notes(self, outputs: ModelOutputs) -> list[str]:
        return [
            f"CMMD over the embeddings of {outputs.eval_set.scorer.name}, not CLIP ViT-L/14: "
            f"comparable only within this report. Unbiased (it may be below 0), σ = {SIGMA}, "
            f"×{SCALE:,}; {len(outputs.generated_embeds):,} generated images against "
            f"{len(outputs.real_embeds):,} real ones.",
            "With σ = 10 on unit vectors CMMD is close to the distance between the two means: it "
            "hardly sees variety that is lost around the same mean. Recall of generated images and "
            "diversity see that.",
        ]
