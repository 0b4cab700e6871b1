"""Collapse: how spread out the model's embeddings are.

The meters are in `evaluation/collapse_meters.py`. The report compares a tuned model's with its
base's.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation.collapse_meters import (
    PROBE,
    RULES,
    alignment,
    margin,
    meters,
    variances,
)
from unidiff_cli.evaluation.eval_set import EvalSet
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.results import PerItem
from unidiff_cli.reports.schema import FigureSpec

if TYPE_CHECKING:
    from unidiff_cli.evaluation.outputs import ModelOutputs

# A figure that does not count in the verdict.
_meter = partial(FigureSpec, headline=False)
# Rows that are measured: the time grows with their square.
MAX_ROWS = 10_000


class Measured(NamedTuple):
    """The rows that are measured, with unit embeddings of their images and distinct captions."""

    eval_set: EvalSet
    images: np.ndarray
    texts: np.ndarray


class Collapse(Metric):
    """The collapse meters of the held-out rows and of everyday objects."""

    place: ClassVar[int] = 140
    in_ablations: ClassVar[bool] = True
    plotted: ClassVar[tuple[str, ...]] = ("uniformity_image", "effective_rank_image")
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        "uniformity_image": _meter("Uniformity of images", "retrieval", "lower"),
        "uniformity_text": _meter("Uniformity of captions", "retrieval", "lower"),
        "alignment": _meter("Alignment", "retrieval", "lower"),
        "effective_rank_image": _meter("Effective rank of images", "retrieval", "higher"),
        "effective_rank_text": _meter("Effective rank of captions", "retrieval", "higher"),
        "total_variance_image": _meter("Total variance of images", "retrieval", "higher"),
        "total_variance_text": _meter("Total variance of captions", "retrieval", "higher"),
        "margin": _meter("Margin", "retrieval", "higher"),
        "probe_uniformity_image": _meter("Uniformity of everyday objects", "knowledge", "lower"),
        "probe_uniformity_text": _meter(
            "Uniformity of everyday objects' names", "knowledge", "lower"
        ),
        "probe_effective_rank_image": _meter(
            "Effective rank of everyday objects", "knowledge", "higher"
        ),
        "probe_effective_rank_text": _meter(
            "Effective rank of everyday objects' names", "knowledge", "higher"
        ),
    }

    def check(self, eval_set: EvalSet) -> None:
        captions = len(eval_set.captions)
        if len(eval_set.rows) < 2 or np.bincount(eval_set.pairs[:, 1]).max() >= captions:
            raise WorkError(
                "The collapse meters need two images, and for each a caption that is not its own.",
                "Give the split a larger share in prepare.splits, or leave collapse out.",
            )

    def _measured(self, outputs: ModelOutputs) -> Measured:
        """All rows, or MAX_ROWS of them picked by the seed."""

        def make() -> Measured:
            eval_set = outputs.eval_set
            if len(eval_set.rows) <= MAX_ROWS:
                return Measured(eval_set, outputs.image_embeds, outputs.text_embeds)
            numbers = np.sort(eval_set.order[:MAX_ROWS])
            rows = [eval_set.rows[n] for n in numbers]
            subset = EvalSet(
                eval_set.shards, rows, eval_set.evaluate, eval_set.generate, window=eval_set.window
            )
            place = {eval_set.same(caption): c for c, caption in enumerate(eval_set.captions)}
            texts = [place[eval_set.same(caption)] for caption in subset.captions]
            return Measured(subset, outputs.image_embeds[numbers], outputs.text_embeds[texts])

        return outputs.remember(self, "measured", make)

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        return outputs.remember(self, "figures", lambda: self._figures(outputs))

    def _figures(self, outputs: ModelOutputs) -> dict[str, float]:
        eval_set, images, texts = self._measured(outputs)
        values = meters(images, texts, eval_set.caption_of, eval_set.pairs)
        labels = outputs.eval_set.probe.labels
        neutral = meters(outputs.probe_image_embeds, outputs.probe_text_embeds, labels)
        neutral = {PROBE + key: value for key, value in neutral.items()}
        return values | {key: value for key, value in neutral.items() if key in self.figures}

    def per_item(self, outputs: ModelOutputs) -> dict[str, PerItem]:
        eval_set, images, texts = self._measured(outputs)
        captions, groups = eval_set.caption_of, eval_set.groups
        return {
            "alignment": PerItem(alignment(images, texts[captions]), groups),
            "margin": PerItem(margin(images, texts, captions, eval_set.pairs), groups),
            "total_variance_image": PerItem(variances(images), groups),
            "total_variance_text": PerItem(variances(texts), eval_set.caption_groups),
        }

    def notes(self, outputs: ModelOutputs) -> list[str]:
        figures = self.compute(outputs)
        rank_limit = 100 * (1 - RULES["effective_rank_image"].limit)
        notes = [
            f"Effective rank {figures['effective_rank_image']:.1f} of images and "
            f"{figures['effective_rank_text']:.1f} of captions, of "
            f"{outputs.image_embeds.shape[1]} dimensions. Uniformity within "
            f"{RULES['uniformity_image'].limit} and rank within {rank_limit:.0f} % of the base's "
            "count as the same: tuning to one shop narrows a little."
        ]
        measured, rows = len(self._measured(outputs).eval_set.rows), len(outputs.eval_set.rows)
        if measured < rows:
            notes.append(
                f"Taken over {measured:,} of {rows:,} images, picked by the seed, "
                "and their captions."
            )
        return notes
