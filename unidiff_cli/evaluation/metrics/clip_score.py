"""CLIP score (Hessel et al., arXiv 2104.08718): how well generated images fit their prompts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unidiff_cli.evaluation.extractors import scorer
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.results import PerItem
from unidiff_cli.reports.schema import FigureSpec

if TYPE_CHECKING:
    from unidiff_cli.evaluation.outputs import ModelOutputs

# Real images that the references are taken over: chance is over every pair of them.
MAX_REFERENCES = 2000


def scores(images: np.ndarray, captions: np.ndarray) -> np.ndarray:
    """100 · max(0, cos) of each pair, (n,), for unit embeddings (n, D) and (n, D)."""
    return 100 * np.maximum(0, (images.astype(np.float64) * captions).sum(axis=1))


def mismatched(images: np.ndarray, captions: np.ndarray) -> float:
    """The mean score of every image with every caption that differs from its own.

    nan where all captions are equal.
    """
    cosines = 100 * np.maximum(0, images.astype(np.float64) @ captions.T)  # (n, n)
    other = (captions @ captions.T) < 1 - 1e-5
    return float(cosines[other].mean()) if other.any() else float("nan")


class ClipScore(Metric):
    """The mean CLIP score of generated images with their prompts, by the scorer."""

    place: ClassVar[int] = 70
    in_ablations: ClassVar[bool] = True
    needs_generated_images: ClassVar[bool] = True
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        "clip_score": FigureSpec("CLIP score", "generation", "higher")
    }

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        return {"clip_score": float(scores(outputs.generated_embeds, outputs.prompt_embeds).mean())}

    def references(self, outputs: ModelOutputs) -> dict[str, dict[str, float]]:
        # The first real rows gave the prompts, in their order; no row twice.
        count = min(len(outputs.prompt_embeds), len(outputs.real_embeds), MAX_REFERENCES)
        real, prompts = outputs.real_embeds[:count], outputs.prompt_embeds[:count]
        references = {"real": {"clip_score": float(scores(real, prompts).mean())}}
        chance = mismatched(real, prompts)
        return references if np.isnan(chance) else {"chance": {"clip_score": chance}, **references}

    def per_item(self, outputs: ModelOutputs) -> dict[str, PerItem]:
        values = scores(outputs.generated_embeds, outputs.prompt_embeds)
        return {
            "clip_score": PerItem(
                values, [outputs.eval_set.same(p) for p in outputs.eval_set.prompts]
            )
        }

    def notes(self, outputs: ModelOutputs) -> list[str]:
        judge, prompts = scorer(), outputs.eval_set.prompts
        notes = [
            f"Scored by {judge.name} ({judge.millions:.1f} M parameters, {judge.image_size} px): "
            "a small CLIP trained apart, neither the tuned model nor its base. "
            "Comparable only within this report.",
            "Chance is the score of real images with other images' captions.",
        ]
        if truncated := judge.count_truncated(prompts):
            notes.append(
                f"{truncated:,} of {len(prompts):,} prompts are longer than the scorer reads "
                "and were truncated."
            )
        return notes
