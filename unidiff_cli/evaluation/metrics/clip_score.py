"""CLIP score (Hessel et al., arXiv 2104.08718): how well drawn pictures fit their prompts, in an independent eye."""

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


def scores(pictures: np.ndarray, captions: np.ndarray) -> np.ndarray:
    """100 · max(0, cos) of each pair, (n,), for unit embeddings (n, D) and (n, D)."""
    return 100 * np.maximum(0, (pictures.astype(np.float64) * captions).sum(axis=1))


def mismatched(pictures: np.ndarray, captions: np.ndarray) -> float:
    """The mean score of every picture with every caption that differs from its own; nan where all are equal."""
    cosines = 100 * np.maximum(0, pictures.astype(np.float64) @ captions.T)  # (n, n)
    other = (captions @ captions.T) < 1 - 1e-5
    return float(cosines[other].mean()) if other.any() else float("nan")


class ClipScore(Metric):
    """The mean CLIP score of drawn pictures with the prompts they were drawn from."""

    reads: ClassVar[frozenset[str]] = frozenset({"generated_embeds", "prompt_embeds"})
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        "clip_score": FigureSpec("CLIP score", "pictures", "higher")
    }

    def compute(self, evidence: ModelOutputs) -> dict[str, float]:
        return {
            "clip_score": float(scores(evidence.generated_embeds, evidence.prompt_embeds).mean())
        }

    def references(self, evidence: ModelOutputs) -> dict[str, dict[str, float]]:
        real, prompts = self._real(evidence)
        found = {"real": {"clip_score": float(scores(real, prompts).mean())}}
        level = mismatched(real, prompts)
        return found if np.isnan(level) else {"chance": {"clip_score": level}, **found}

    def items(self, evidence: ModelOutputs) -> dict[str, PerItem]:
        each = scores(evidence.generated_embeds, evidence.prompt_embeds)
        return {
            "clip_score": PerItem(each, [same_text(prompt) for prompt in evidence.held.prompts])
        }

    def _real(self, evidence: ModelOutputs) -> tuple[np.ndarray, np.ndarray]:
        """The real pictures that gave the prompts, and the prompts: (n, D) each, no row twice, 2,000 at most."""
        count = min(len(evidence.prompt_embeds), len(evidence.real_embeds), 2000)
        return evidence.real_embeds[:count], evidence.prompt_embeds[:count]

    def notes(self, evidence: ModelOutputs) -> list[str]:
        seen, prompts = scorer(), evidence.held.prompts
        said = [
            f"Scored by {seen.name} ({seen.millions:.1f} M parameters, {seen.image_size} px): a small CLIP trained "
            "apart, neither the tuned model nor its base. Comparable only within this report.",
            "Chance is the score of real pictures with other pictures' captions.",
        ]
        if cut := seen.cut(prompts):
            said.append(
                f"{cut:,} of {len(prompts):,} prompts are longer than it reads and were cut."
            )
        return said
