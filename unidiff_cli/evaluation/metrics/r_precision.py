"""R-precision (Xu et al., arXiv 1711.10485; by CLIP, Park et al., NeurIPS 2021): is a drawn image's own prompt the
one it fits best?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unidiff_cli.data.captions import number_distinct, same_text
from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation.extractors import scorer
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.results import FigureSpec, PerItem, once

if TYPE_CHECKING:
    from unidiff_cli.evaluation.eval_set import EvalSet
    from unidiff_cli.evaluation.outputs import ModelOutputs


CANDIDATES = 100  # prompts an image chooses among, its own and 99 others: the papers'
BLOCK = 1024


def distinct(labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Where each distinct prompt is met first, (P,), and which of them each image was drawn from, (n,)."""
    own = np.array(number_distinct(labels))
    return np.unique(own, return_index=True)[1], own


def found_first(
    images: np.ndarray, prompts: np.ndarray, own: np.ndarray, candidates: int = CANDIDATES
) -> np.ndarray:
    """How likely each image's own prompt is the best of `candidates`, (n,), for unit embeddings of images (n, D)
    and distinct prompts (P, D) and the number of each image's own, (n,).

    The others are drawn at random; the share over all such draws is computed exactly, C(M−w, c−1)/C(M, c−1) with w of
    the M other prompts as good or better, so no seed is in the figure. With fewer prompts than candidates all take
    part. Cosines are taken to 6 decimals; ties go against the model. Raises ValueError for fewer than two prompts.
    """
    others = len(prompts) - 1
    if others < 1:
        raise ValueError("R-precision needs two prompts that differ")
    taken = min(candidates - 1, others)
    log = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, others + 1)))])  # log n!
    likely, w = np.zeros(others + 1), np.arange(others - taken + 1)
    likely[w] = np.exp(
        log[others - w] - log[others - w - taken] - log[others] + log[others - taken]
    )
    found = np.zeros(len(images))
    for start in range(0, len(images), BLOCK):
        some = slice(start, start + BLOCK)
        cosines = np.round(images[some].astype(np.float64) @ prompts.T, 6)  # (b, P)
        mine = np.take_along_axis(cosines, own[some, None], axis=1)
        better = (cosines >= mine).sum(axis=1) - 1
        found[some] = likely[np.where(np.isfinite(mine[:, 0]), better, others)]
    return found


def chance(labels: Sequence[str], candidates: int = CANDIDATES) -> float:
    """R-precision of images that have nothing to do with their prompts."""
    return 1 / min(candidates, len(set(labels)))


class RPrecision(Metric):
    """The share of drawn images that fit their own prompt better than 99 others, by the scorer."""

    reads: ClassVar[frozenset[str]] = frozenset(
        {"generated_embeds", "real_embeds", "prompt_embeds"}
    )
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        "r_precision": FigureSpec("R-precision", "generation", "higher", percent=True)
    }

    def check(self, eval_set: EvalSet) -> None:
        if len({same_text(prompt) for prompt in eval_set.prompts}) < 2:
            raise WorkError(
                "R-precision needs two prompts that differ.",
                "Raise evaluate.images, or leave r_precision out.",
            )

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        return {"r_precision": float(self._each(outputs).mean())}

    def references(self, outputs: ModelOutputs) -> dict[str, dict[str, float]]:
        labels = self._labels(outputs)
        first, own = distinct(labels)
        real = outputs.real_embeds[: len(labels)]  # real_rows[i] gave prompt i
        each = found_first(real, outputs.prompt_embeds[first], own[: len(real)])
        return {
            "chance": {"r_precision": chance(labels)},
            "real": {"r_precision": float(each.mean())},
        }

    def per_item(self, outputs: ModelOutputs) -> dict[str, PerItem]:
        return {"r_precision": PerItem(self._each(outputs), self._labels(outputs))}

    @once
    def _each(self, outputs: ModelOutputs) -> np.ndarray:
        first, own = distinct(self._labels(outputs))
        return found_first(outputs.generated_embeds, outputs.prompt_embeds[first], own)

    def _labels(self, outputs: ModelOutputs) -> list[str]:
        return [same_text(prompt) for prompt in outputs.eval_set.prompts]

    def notes(self, outputs: ModelOutputs) -> list[str]:
        prompts = len(set(self._labels(outputs)))
        said = [
            f"R-precision by {scorer().name}: an image's own prompt among {min(CANDIDATES, prompts)} of {prompts:,} "
            "distinct ones, over all choices of the others."
        ]
        if prompts < CANDIDATES:
            said.append(
                f"Fewer than {CANDIDATES} prompts make it easier than elsewhere: look at chance."
            )
        return said
