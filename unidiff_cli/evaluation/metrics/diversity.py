"""Diversity: how much generated images differ, and how much the prompt decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.results import BootstrapSamples
from unidiff_cli.evaluation.statistics import resamples
from unidiff_cli.reports.schema import FigureSpec

if TYPE_CHECKING:
    from unidiff_cli.evaluation.eval_set import EvalSet
    from unidiff_cli.evaluation.outputs import ModelOutputs

RESAMPLES = 200
# Prompts and seeds of prompt sensitivity's grid.
GRID_PROMPTS, GRID_SEEDS = 6, 4


def mean_distance(embeds: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """The mean cosine distance 1 − x·y of two different images, of each resample, (B,).

    Unit embeddings (n, D); `counts` (B, n) says how often each is in a resample, without them all
    are once in one. An image is no pair with itself. By ‖Σx‖², so in O(n) time. nan where a
    resample has only one image.
    """
    x = embeds.astype(np.float64)
    w = np.ones((1, len(x))) if counts is None else np.asarray(counts, np.float64)
    pairs = w.sum(axis=1) ** 2 - (w**2).sum(axis=1)
    alike = ((w @ x) ** 2).sum(axis=1) - (w**2) @ (x * x).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(pairs > 0, 1 - alike / pairs, np.nan)


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
    """S: the distance of two prompts' images from one seed over that of two seeds' of one prompt.

    Both are means. `grid` (P, S, D) holds unit embeddings of images generated from P ≥ 2 prompts
    with the same S ≥ 2 seeds. 0: the prompt changes nothing; 1: as much as the seed. inf where the
    seed changes nothing, nan where neither does.
    """
    return float(_sensitivity(grid, np.ones((1, len(grid))))[0])


def bootstrap_sensitivity(grid: np.ndarray, samples: int = 1000, seed: int = 0) -> np.ndarray:
    """S of bootstrap samples of the prompts, (B,)."""
    return _sensitivity(grid, resamples(len(grid), samples, seed))


def _sensitivity(grid: np.ndarray, w: np.ndarray) -> np.ndarray:
    """S of each resample of the prompts, (B,), by how often each is in it (B, P)."""
    between = np.mean([mean_distance(grid[:, s], w) for s in range(grid.shape[1])], axis=0)  # (B,)
    within = np.array([mean_distance(images)[0] for images in grid])  # (P,)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.maximum(between, 0) / np.maximum((w @ within) / w.sum(axis=1), 0)


class Diversity(Metric):
    """How much the generated images differ from one another, by the scorer."""

    place: ClassVar[int] = 110
    needs_generated_images: ClassVar[bool] = True
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        "diversity": FigureSpec("Diversity", "generation", "higher", headline=False),
        "vendi": FigureSpec("Vendi score", "generation", "higher", headline=False),
        "prompt_sensitivity": FigureSpec(
            "Prompt sensitivity", "generation", "higher", headline=False
        ),
    }

    def check(self, eval_set: EvalSet) -> None:
        if len({eval_set.same(prompt) for prompt in eval_set.prompts}) < 2:
            raise WorkError(
                "Diversity needs images of two prompts that differ.",
                "Raise evaluate.images, or leave diversity out.",
            )

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        return outputs.remember(self, "figures", lambda: self._figures(outputs))

    def _figures(self, outputs: ModelOutputs) -> dict[str, float]:
        generated = outputs.generated_embeds
        values = {"diversity": float(mean_distance(generated)[0]), "vendi": vendi(generated)}
        sensitivity = prompt_sensitivity(self._grid_embeds(outputs))
        return values | ({"prompt_sensitivity": sensitivity} if np.isfinite(sensitivity) else {})

    def _grid_embeds(self, outputs: ModelOutputs) -> np.ndarray:
        """Scorer embeddings of P prompts' images from the same S seeds, unit, (P, S, D)."""
        return outputs.remember(self, "grid", lambda: _embed_grid(outputs))

    def references(self, outputs: ModelOutputs) -> dict[str, dict[str, float]]:
        real = outputs.real_embeds[: len(outputs.generated_embeds)]
        if len(real) < 2:
            return {}
        values = {"diversity": float(mean_distance(real)[0])}
        # The Vendi score grows with the number of images.
        if len(real) == len(outputs.generated_embeds):
            values["vendi"] = vendi(real)
        return {"real": values}

    def bootstrap(self, outputs: ModelOutputs) -> dict[str, BootstrapSamples]:
        generated, grid = outputs.generated_embeds, self._grid_embeds(outputs)
        seed = outputs.eval_set.fold
        labels = [outputs.eval_set.same(prompt) for prompt in outputs.eval_set.prompts]
        counts, prompts = resamples(len(generated), RESAMPLES, seed, labels), len(set(labels))
        vendis = [vendi(np.repeat(generated, w.astype(int), axis=0)) for w in counts]
        sensitivity = bootstrap_sensitivity(grid, RESAMPLES, seed)
        return {
            "diversity": BootstrapSamples(
                mean_distance(generated, counts), len(generated), prompts
            ),
            "vendi": BootstrapSamples(np.array(vendis), len(generated), prompts),
            "prompt_sensitivity": BootstrapSamples(sensitivity, len(grid), len(grid)),
        }

    def notes(self, outputs: ModelOutputs) -> list[str]:
        notes = [
            "Diversity is the mean cosine distance of two generated images by "
            f"{outputs.eval_set.scorer.name}, over all prompts; the Vendi score is how many "
            f"different images {len(outputs.generated_embeds):,} amount to. More than the real "
            "images have is no merit: noise is diverse."
        ]
        if "prompt_sensitivity" not in self.compute(outputs):
            notes.append(
                "Prompt sensitivity is no number where the seed changes nothing, and is left out."
            )
        return notes


def _embed_grid(outputs: ModelOutputs) -> np.ndarray:
    eval_set = outputs.eval_set
    distinct = list({eval_set.same(prompt): prompt for prompt in eval_set.prompts}.values())
    chosen = distinct[:GRID_PROMPTS]
    prompts = [prompt for prompt in chosen for _ in range(GRID_SEEDS)]
    seeds = [eval_set.evaluate.seed + s for _ in chosen for s in range(GRID_SEEDS)]
    images = outputs.generate_images("diversity.grid", prompts, seeds)
    embeds = outputs.generated_image_features(images, prompts, seeds).embeds
    return embeds.reshape(len(chosen), GRID_SEEDS, -1)
