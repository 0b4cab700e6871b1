"""R-precision (Xu et al., arXiv 1711.10485; by CLIP, Park et al., NeurIPS 2021).

How often a generated image fits its own prompt better than other prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unidiff_cli.data.captions import number_distinct
from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.results import PerItem
from unidiff_cli.reports.schema import FigureSpec

if TYPE_CHECKING:
    from unidiff_cli.evaluation.eval_set import EvalSet
    from unidiff_cli.evaluation.outputs import ModelOutputs

# Prompts that an image chooses among, its own and 99 others: the papers'.
CANDIDATES = 100
BLOCK = 1024


def distinct_prompts(labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The first index of each distinct label, (P,), and the number of each image's prompt, (n,)."""
    prompt_of = np.array(number_distinct(labels))
    return np.unique(prompt_of, return_index=True)[1], prompt_of


def first_choice(
    images: np.ndarray, prompts: np.ndarray, prompt_of: np.ndarray, candidates: int = CANDIDATES
) -> np.ndarray:
    """The probability that each image's own prompt is the best of `candidates`, (n,).

    Unit embeddings of images (n, D) and distinct prompts (P, D), and the number of each image's own
    prompt (n,). The other candidates are random; the share over all choices of them is exact,
    C(M−w, c−1)/C(M, c−1) with w of the M other prompts as good or better, so no seed is in the
    figure. With fewer prompts than candidates all take part. Cosines are rounded to 6 decimals;
    ties count against the model. Raises ValueError for fewer than two prompts.
    """
    others = len(prompts) - 1
    if others < 1:
        raise ValueError("R-precision needs two prompts that differ")
    taken = min(candidates - 1, others)
    # log n!
    log = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, others + 1)))])
    by_better, w = np.zeros(others + 1), np.arange(others - taken + 1)
    by_better[w] = np.exp(
        log[others - w] - log[others - w - taken] - log[others] + log[others - taken]
    )
    probability = np.zeros(len(images))
    for start in range(0, len(images), BLOCK):
        block = slice(start, start + BLOCK)
        cosines = np.round(images[block].astype(np.float64) @ prompts.T, 6)  # (b, P)
        own_cosines = np.take_along_axis(cosines, prompt_of[block, None], axis=1)
        better = (cosines >= own_cosines).sum(axis=1) - 1
        probability[block] = by_better[np.where(np.isfinite(own_cosines[:, 0]), better, others)]
    return probability


def chance(labels: Sequence[str], candidates: int = CANDIDATES) -> float:
    """The R-precision of images that have nothing to do with their prompts."""
    return 1 / min(candidates, len(set(labels)))


class RPrecision(Metric):
    """The share of generated images that fit their prompt better than 99 others, by the scorer."""

    place: ClassVar[int] = 80
    needs_generated_images: ClassVar[bool] = True
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        "r_precision": FigureSpec("R-precision", "generation", "higher", percent=True)
    }

    def check(self, eval_set: EvalSet) -> None:
        if len({eval_set.same(prompt) for prompt in eval_set.prompts}) < 2:
            raise WorkError(
                "R-precision needs two prompts that differ.",
                "Raise evaluate.images, or leave r_precision out.",
            )

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        return {"r_precision": float(self._probabilities(outputs).mean())}

    def references(self, outputs: ModelOutputs) -> dict[str, dict[str, float]]:
        labels = self._labels(outputs)
        first, prompt_of = distinct_prompts(labels)
        # real_rows[i] gave prompt i.
        real = outputs.real_embeds[: len(labels)]
        values = first_choice(real, outputs.prompt_embeds[first], prompt_of[: len(real)])
        return {
            "chance": {"r_precision": chance(labels)},
            "real": {"r_precision": float(values.mean())},
        }

    def per_item(self, outputs: ModelOutputs) -> dict[str, PerItem]:
        return {"r_precision": PerItem(self._probabilities(outputs), self._labels(outputs))}

    def _probabilities(self, outputs: ModelOutputs) -> np.ndarray:
        def make() -> np.ndarray:
            first, prompt_of = distinct_prompts(self._labels(outputs))
            return first_choice(outputs.generated_embeds, outputs.prompt_embeds[first], prompt_of)

        return outputs.remember(self, "probabilities", make)

    def _labels(self, outputs: ModelOutputs) -> list[str]:
        """What equal prompts have in common, for each prompt."""
        return [outputs.eval_set.same(prompt) for prompt in outputs.eval_set.prompts]

    def notes(self, outputs: ModelOutputs) -> list[str]:
        prompts = len(set(self._labels(outputs)))
        notes = [
            f"R-precision by {outputs.eval_set.scorer.name}: an image's own prompt among "
            f"{min(CANDIDATES, prompts)} of {prompts:,} distinct ones, "
            "over all choices of the others."
        ]
        if prompts < CANDIDATES:
            notes.append(
                f"With fewer than {CANDIDATES} prompts R-precision is easier than elsewhere: "
                "compare it with chance."
            )
        return notes
