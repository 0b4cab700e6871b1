"""Diversity: how much drawn images differ, over all prompts and within one, and how much the prompt decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unidiff_cli.data.captions import same_text
from unidiff_cli.data.splits import group_numbers
from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation.extractors import scorer
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.results import BootstrapSamples, FigureSpec, once
from unidiff_cli.evaluation.statistics import Interval, interval, resamples

if TYPE_CHECKING:
    from unidiff_cli.evaluation.eval_set import EvalSet
    from unidiff_cli.evaluation.outputs import ModelOutputs


MARGIN_DRAWS = 200


def mean_distance(embeds: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """The mean cosine distance 1 − x·y of two different images of unit embeddings (n, D), of each resample, (B,).

    `counts` (B, n) says how often an image is in a resample (one of all, without them); it is no pair with itself.
    By ‖Σx‖², so in O(n) time. nan where a resample holds one image only.
    """
    x = embeds.astype(np.float64)
    w = np.ones((1, len(x))) if counts is None else np.asarray(counts, np.float64)
    pairs = w.sum(axis=1) ** 2 - (w**2).sum(axis=1)
    alike = ((w @ x) ** 2).sum(axis=1) - (w**2) @ (x * x).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(pairs > 0, 1 - alike / pairs, np.nan)


def diversity(
    embeds: np.ndarray, groups: Sequence[object] | None = None, draws: int = 1000, seed: int = 0
) -> Interval:
    """The mean cosine distance of images (n, D) with its bootstrap interval; `groups` are resampled whole."""
    found = mean_distance(embeds, resamples(len(embeds), draws, seed, groups))
    count = int(group_numbers(groups, len(embeds)).max()) + 1
    return interval(float(mean_distance(embeds)[0]), found[np.isfinite(found)], len(embeds), count)


def within(embeds: np.ndarray, prompts: Sequence[object]) -> np.ndarray:
    """The mean cosine distance of the images of each prompt that has two or more, (P,), for (n, D) and n labels."""
    number = group_numbers(prompts, len(embeds))
    sizes = np.bincount(number)
    return np.array([mean_distance(embeds[number == p])[0] for p in np.flatnonzero(sizes > 1)])


def vendi(embeds: np.ndarray) -> float:
    """Vendi score of unit embeddings (n, D): how many different images n amount to, 1 … min(n, D).

    exp of the entropy of the eigenvalues of XXᵀ/n. Friedman & Dieng, arXiv 2210.02410.
    """
    x = embeds.astype(np.float64)
    if not np.isfinite(x).all():
        return float("nan")
    values = np.linalg.eigvalsh((x.T @ x if len(x) > x.shape[1] else x @ x.T) / len(x))
    values = values[values > values.max() * len(values) * np.finfo(np.float64).eps]
    share = values / values.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def prompt_sensitivity(grid: np.ndarray) -> float:
    """S: the mean distance of two prompts' images from one seed, over that of two seeds' images of one prompt.

    `grid` (P, S, D) holds unit embeddings by an independent encoder of P ≥ 2 prompts drawn from the same S ≥ 2 seeds.
    0: the prompt changes nothing; 1: no more than the seed. inf where seeds change nothing, nan where neither does.
    """
    return float(sensitivity_draws(grid, np.ones((1, len(grid))))[0])


def sensitivity_draws(
    grid: np.ndarray, counts: np.ndarray | None = None, draws: int = 1000, seed: int = 0
) -> np.ndarray:
    """S of bootstrap samples of prompts, (B,): for `interval`, or two models' for `paired_draws`."""
    w = resamples(len(grid), draws, seed) if counts is None else counts
    between = np.mean([mean_distance(grid[:, s], w) for s in range(grid.shape[1])], axis=0)  # (B,)
    each = np.array([mean_distance(images)[0] for images in grid])  # (P,)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.maximum(between, 0) / np.maximum((w @ each) / w.sum(axis=1), 0)


class Diversity(Metric):
    """How much the drawn images differ from one another, in the scorer's eye."""

    reads: ClassVar[frozenset[str]] = frozenset({"generated_embeds", "real_embeds", "grid_embeds"})
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        "diversity": FigureSpec("Diversity", "generation", "higher", headline=False),
        "vendi": FigureSpec("Vendi score", "generation", "higher", headline=False),
        "prompt_sensitivity": FigureSpec(
            "Prompt sensitivity", "generation", "higher", headline=False
        ),
    }

    def check(self, eval_set: EvalSet) -> None:
        if len({same_text(prompt) for prompt in eval_set.prompts}) < 2:
            raise WorkError(
                "Diversity needs images of two prompts that differ.",
                "Raise evaluate.images, or leave diversity out.",
            )

    @once
    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        drawn = outputs.generated_embeds
        found = {"diversity": float(mean_distance(drawn)[0]), "vendi": vendi(drawn)}
        sensitivity = prompt_sensitivity(outputs.grid_embeds)
        return found | ({"prompt_sensitivity": sensitivity} if np.isfinite(sensitivity) else {})

    def references(self, outputs: ModelOutputs) -> dict[str, dict[str, float]]:
        real = outputs.real_embeds[: len(outputs.generated_embeds)]
        if len(real) < 2:
            return {}
        found = {"diversity": float(mean_distance(real)[0])}
        if len(real) == len(outputs.generated_embeds):  # Vendi grows with the number of images
            found["vendi"] = vendi(real)
        return {"real": found}

    def bootstrap(self, outputs: ModelOutputs) -> dict[str, BootstrapSamples]:
        eval_set, drawn, grid = outputs.eval_set, outputs.generated_embeds, outputs.grid_embeds
        labels = [same_text(prompt) for prompt in eval_set.prompts]
        counts, prompts = (
            resamples(len(drawn), MARGIN_DRAWS, eval_set.fold, labels),
            len(set(labels)),
        )
        vendis = [vendi(np.repeat(drawn, w.astype(int), axis=0)) for w in counts]
        sensitivity = sensitivity_draws(grid, draws=MARGIN_DRAWS, seed=eval_set.fold)
        return {
            "diversity": BootstrapSamples(mean_distance(drawn, counts), len(drawn), prompts),
            "vendi": BootstrapSamples(np.array(vendis), len(drawn), prompts),
            "prompt_sensitivity": BootstrapSamples(sensitivity, len(grid), len(grid)),
        }

    def notes(self, outputs: ModelOutputs) -> list[str]:
        said = [
            f"Diversity is the mean cosine distance of two drawn images by {scorer().name}, over all prompts; the Vendi "
            f"score is how many different images {len(outputs.generated_embeds):,} amount to. More than the real "
            "images have is no merit: noise is diverse."
        ]
        if "prompt_sensitivity" not in self.compute(outputs):
            said.append(
                "Prompt sensitivity is no number where the seed changes nothing, and is not given."
            )
        return said
