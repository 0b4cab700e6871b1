"""CLIP score (Hessel et al., arXiv 2104.08718): how well drawn images fit their prompts, in an independent eye."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unidiff_cli.data.captions import same_text
from unidiff_cli.evaluation.extractors import scorer
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.results import FigureSpec, PerItem

if TYPE_CHECKING:
    from unidiff_cli.evaluation.outputs import ModelOutputs


def scores(images: np.ndarray, captions: np.ndarray) -> np.ndarray:
    """100 · max(0, cos) of each pair, (n,), for unit embeddings (n, D) and (n, D)."""
    return 100 * np.maximum(0, (images.astype(np.float64) * captions).sum(axis=1))


def mismatched(images: np.ndarray, captions: np.ndarray) -> float:
    """The mean score of every image with every caption that differs from its own; nan where all are equal."""
    cosines = 100 * np.maximum(0, images.astype(np.float64) @ captions.T)  # (n, n)
    other = (captions @ captions.T) < 1 - 1e-5
    return float(cosines[other].mean()) if other.any() else float("nan")


class ClipScore(Metric):
    """The mean CLIP score of drawn images with the prompts they were drawn from."""

    reads: ClassVar[frozenset[str]] = frozenset({"generated_embeds", "prompt_embeds"})
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        "clip_score": FigureSpec("CLIP score", "generation", "higher")
    }

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        return {"clip_score": float(scores(outputs.generated_embeds, outputs.prompt_embeds).mean())}

    def references(self, outputs: ModelOutputs) -> dict[str, dict[str, float]]:
        real, prompts = self._real(outputs)
        found = {"real": {"clip_score": float(scores(real, prompts).mean())}}
        level = mismatched(real, prompts)
        return found if np.isnan(level) else {"chance": {"clip_score": level}, **found}

    def per_item(self, outputs: ModelOutputs) -> dict[str, PerItem]:
        each = scores(outputs.generated_embeds, outputs.prompt_embeds)
        return {
            "clip_score": PerItem(each, [same_text(prompt) for prompt in outputs.eval_set.prompts])
        }

    def _real(self, outputs: ModelOutputs) -> tuple[np.ndarray, np.ndarray]:
        """The real images that gave the prompts, and the prompts: (n, D) each, no row twice, 2,000 at most."""
        count = min(len(outputs.prompt_embeds), len(outputs.real_embeds), 2000)
        return outputs.real_embeds[:count], outputs.prompt_embeds[:count]

    def notes(self, outputs: ModelOutputs) -> list[str]:
        seen, prompts = scorer(), outputs.eval_set.prompts
        said = [
            f"Scored by {seen.name} ({seen.millions:.1f} M parameters, {seen.image_size} px): a small CLIP trained "
            "apart, neither the tuned model nor its base. Comparable only within this report.",
            "Chance is the score of real images with other images' captions.",
        ]
        if cut := seen.cut(prompts):
            said.append(
                f"{cut:,} of {len(prompts):,} prompts are longer than it reads and were cut."
            )
        return said
