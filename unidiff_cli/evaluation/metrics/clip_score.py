"""CLIP score (Hessel et al., arXiv 2104.08718): how well generated images fit their prompts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.results import BootstrapSamples, PerItem
from unidiff_cli.evaluation.statistics import resamples
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


def distance(gaps: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """|the mean gap| of each resample, (B,): how far two mean scores of equal prompts are apart.

    Gaps (n,) of score − real score; `counts` (B, n) says how often each is in a resample, without
    them all are once in one.
    """
    w = np.ones((1, len(gaps))) if counts is None else counts
    return np.abs(w @ gaps) / w.sum(axis=1)


class ClipScore(Metric):
    """The mean CLIP score of generated images with their prompts, and its distance from real ones.

    Judged is the distance: a small CLIP may score generated images far higher than the real ones,
    and a model that comes nearer to the shop's images then scores less.
    """

    place: ClassVar[int] = 70
    in_ablations: ClassVar[bool] = True
    needs_generated_images: ClassVar[bool] = True
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        "clip_score": FigureSpec("CLIP score", "generation", None, headline=False),
        "clip_score_distance": FigureSpec("CLIP score, distance from real", "generation", "lower"),
    }

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        return {
            "clip_score": float(_generated_scores(outputs).mean()),
            "clip_score_distance": float(distance(_gaps(outputs))[0]),
        }

    def references(self, outputs: ModelOutputs) -> dict[str, dict[str, float]]:
        references = {"real": {"clip_score": float(_real_scores(outputs).mean())}}
        # The first real rows gave the prompts, in their order; no row twice.
        count = min(len(outputs.prompt_embeds), len(outputs.real_embeds), MAX_REFERENCES)
        chance = mismatched(outputs.real_embeds[:count], outputs.prompt_embeds[:count])
        return references if np.isnan(chance) else {"chance": {"clip_score": chance}, **references}

    def per_item(self, outputs: ModelOutputs) -> dict[str, PerItem]:
        return {"clip_score": PerItem(_generated_scores(outputs), _labels(outputs))}

    def bootstrap(self, outputs: ModelOutputs) -> dict[str, BootstrapSamples]:
        gaps, labels = _gaps(outputs), _labels(outputs)
        counts = resamples(len(gaps), seed=outputs.eval_set.fold, groups=labels)
        samples = BootstrapSamples(distance(gaps, counts), len(gaps), len(set(labels)))
        return {"clip_score_distance": samples}

    def notes(self, outputs: ModelOutputs) -> list[str]:
        judge, prompts = outputs.eval_set.scorer, outputs.eval_set.prompts
        notes = [
            f"Scored by {judge.name} ({judge.millions:.1f} M parameters, {judge.image_size} px): "
            "a CLIP trained apart, neither the tuned model nor its base. "
            "Comparable only within this report.",
            "Judged by its distance from the score of the real images with the same prompts: a "
            "score above theirs is no merit. Chance is the score of real images with other "
            "images' captions.",
        ]
        if truncated := judge.count_truncated(prompts):
            notes.append(
                f"{truncated:,} of {len(prompts):,} prompts are longer than the scorer reads "
                "and were truncated."
            )
        return notes


def _generated_scores(outputs: ModelOutputs) -> np.ndarray:
    """The score of each generated image, (n,)."""
    return scores(outputs.generated_embeds, outputs.prompt_embeds)


def _real_scores(outputs: ModelOutputs) -> np.ndarray:
    """The score of each prompt's real image, (n,): real_rows[i % R] gave prompt i."""
    prompts, real = outputs.prompt_embeds, outputs.real_embeds
    return scores(real[np.arange(len(prompts)) % len(real)], prompts)


def _gaps(outputs: ModelOutputs) -> np.ndarray:
    """The generated image's score less the real one's, of each prompt, (n,)."""
    return _generated_scores(outputs) - _real_scores(outputs)


def _labels(outputs: ModelOutputs) -> list[str]:
    """What equal prompts have in common, of each prompt."""
    return [outputs.eval_set.same(prompt) for prompt in outputs.eval_set.prompts]
