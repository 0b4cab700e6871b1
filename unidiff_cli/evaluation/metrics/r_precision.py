"""R-precision (Xu et al., arXiv 1711.10485; by CLIP, Park et al., NeurIPS 2021): is a drawn picture's own prompt the
one it fits best?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unidiff_cli.data.captions import same_text
from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation.extractors import scorer
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.results import FigureSpec, PerItem, once

if TYPE_CHECKING:
    from unidiff_cli.evaluation.eval_set import EvalSet
    from unidiff_cli.evaluation.outputs import ModelOutputs


CANDIDATES = 100  # prompts a picture chooses among, its own and 99 others: the papers'
BLOCK = 1024


def distinct(labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Where each distinct prompt is met first, (P,), and which of them each picture was drawn from, (n,)."""
    place: dict[str, int] = {}
    own = np.array([place.setdefault(label, len(place)) for label in labels])
    return np.unique(own, return_index=True)[1], own


def found_first(
    pictures: np.ndarray, prompts: np.ndarray, own: np.ndarray, candidates: int = CANDIDATES
) -> np.ndarray:
    """How likely each picture's own prompt is the best of `candidates`, (n,), for unit embeddings of pictures (n, D)
    and distinct prompts (P, D) and the number of each picture's own, (n,).

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
    found = np.zeros(len(pictures))
    for start in range(0, len(pictures), BLOCK):
        some = slice(start, start + BLOCK)
        cosines = np.round(pictures[some].astype(np.float64) @ prompts.T, 6)  # (b, P)
        mine = np.take_along_axis(cosines, own[some, None], axis=1)
        better = (cosines >= mine).sum(axis=1) - 1
        found[some] = likely[np.where(np.isfinite(mine[:, 0]), better, others)]
    return found


def chance(labels: Sequence[str], candidates: int = CANDIDATES) -> float:
    """R-precision of pictures that have nothing to do with their prompts."""
    return 1 / min(candidates, len(set(labels)))


class RPrecision(Metric):
    """The share of drawn pictures that fit their own prompt better than 99 others, by the scorer."""

    reads: ClassVar[frozenset[str]] = frozenset(
        {"generated_embeds", "real_embeds", "prompt_embeds"}
    )
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        "r_precision": FigureSpec("R-precision", "pictures", "higher", percent=True)
    }

    def refuse(self, held: EvalSet) -> None:
        if len({same_text(prompt) for prompt in held.prompts}) < 2:
            raise WorkError(
                "R-precision needs two prompts that differ.",
                "Raise evaluate.images, or leave r_precision out.",
            )

    def compute(self, evidence: ModelOutputs) -> dict[str, float]:
        return {"r_precision": float(self._each(evidence).mean())}

    def references(self, evidence: ModelOutputs) -> dict[str, dict[str, float]]:
        labels = self._labels(evidence)
        first, own = distinct(labels)
        real = evidence.real_embeds[: len(labels)]  # real_rows[i] gave prompt i
        each = found_first(real, evidence.prompt_embeds[first], own[: len(real)])
        return {
            "chance": {"r_precision": chance(labels)},
            "real": {"r_precision": float(each.mean())},
        }

    def items(self, evidence: ModelOutputs) -> dict[str, PerItem]:
        return {"r_precision": PerItem(self._each(evidence), self._labels(evidence))}

    @once
    def _each(self, evidence: ModelOutputs) -> np.ndarray:
        first, own = distinct(self._labels(evidence))
        return found_first(evidence.generated_embeds, evidence.prompt_embeds[first], own)

    def _labels(self, evidence: ModelOutputs) -> list[str]:
        return [same_text(prompt) for prompt in evidence.held.prompts]

    def notes(self, evidence: ModelOutputs) -> list[str]:
        prompts = len(set(self._labels(evidence)))
        said = [
            f"R-precision by {scorer().name}: a picture's own prompt among {min(CANDIDATES, prompts)} of {prompts:,} "
            "distinct ones, over all choices of the others."
        ]
        if prompts < CANDIDATES:
            said.append(
                f"Fewer than {CANDIDATES} prompts make it easier than elsewhere: look at chance."
            )
        return said
