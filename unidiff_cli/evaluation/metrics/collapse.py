"""Collapse meters: whether tuning narrowed what the embeddings and the drawn images can tell apart.

Wang & Isola, arXiv 2005.10242 (uniformity, alignment); Roy & Vetterli, EUSIPCO 2007 (effective rank); the rest as each
function says. Meters are taken on an in-domain probe and on a neutral one; `flags` holds a tuned model's against its
base's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unidiff_cli.data.captions import same_text
from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.results import FigureSpec, PerItem, once

if TYPE_CHECKING:
    from unidiff_cli.evaluation.eval_set import EvalSet
    from unidiff_cli.evaluation.outputs import ModelOutputs


from unidiff_cli.evaluation.collapse_meters import RULES, alignment, margin, meters, variances

MOST = 10_000  # rows measured: the time grows with their square


class Collapse(Metric):
    """How spread out the model's embeddings of the held-out rows are; a tuned model's are held against its base's."""

    reads: ClassVar[frozenset[str]] = frozenset(
        {"image_embeds", "text_embeds", "probe_image_embeds", "probe_text_embeds"}
    )
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        "uniformity_image": FigureSpec(
            "Uniformity of images", "retrieval", "lower", headline=False
        ),
        "uniformity_text": FigureSpec(
            "Uniformity of captions", "retrieval", "lower", headline=False
        ),
        "alignment": FigureSpec("Alignment", "retrieval", "lower", headline=False),
        "effective_rank_image": FigureSpec(
            "Effective rank of images", "retrieval", "higher", headline=False
        ),
        "effective_rank_text": FigureSpec(
            "Effective rank of captions", "retrieval", "higher", headline=False
        ),
        "total_variance_image": FigureSpec(
            "Total variance of images", "retrieval", "higher", headline=False
        ),
        "total_variance_text": FigureSpec(
            "Total variance of captions", "retrieval", "higher", headline=False
        ),
        "margin": FigureSpec("Margin", "retrieval", "higher", headline=False),
        "probe_uniformity_image": FigureSpec(
            "Uniformity of everyday objects", "knowledge", "lower", headline=False
        ),
        "probe_uniformity_text": FigureSpec(
            "Uniformity of their names", "knowledge", "lower", headline=False
        ),
        "probe_effective_rank_image": FigureSpec(
            "Effective rank of everyday objects", "knowledge", "higher", headline=False
        ),
        "probe_effective_rank_text": FigureSpec(
            "Effective rank of their names", "knowledge", "higher", headline=False
        ),
    }

    def check(self, eval_set: EvalSet) -> None:
        if len(eval_set.rows) < 2 or np.bincount(eval_set.pairs[:, 1]).max() >= len(
            eval_set.captions
        ):
            raise WorkError(
                "The collapse meters need two images, and for each a caption that is not its own.",
                "Give the split a larger share in prepare.splits, or leave collapse out.",
            )

    @once
    def _seen(self, outputs: ModelOutputs) -> tuple[EvalSet, np.ndarray, np.ndarray]:
        """The rows measured, MOST picked by the seed where there are more, and their embeddings."""
        from unidiff_cli.evaluation.eval_set import EvalSet

        eval_set = outputs.eval_set
        if len(eval_set.rows) <= MOST:
            return eval_set, outputs.image_embeds, outputs.text_embeds
        rows = np.sort(eval_set.order[:MOST])
        some = EvalSet(
            eval_set.shards, [eval_set.rows[n] for n in rows], eval_set.evaluate, eval_set.generate
        )
        place = {same_text(caption): c for c, caption in enumerate(eval_set.captions)}
        texts = [place[same_text(caption)] for caption in some.captions]
        return some, outputs.image_embeds[rows], outputs.text_embeds[texts]

    @once
    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        probe, (eval_set, images, texts) = outputs.eval_set.probe, self._seen(outputs)
        found = meters(images, texts, eval_set.own, eval_set.pairs)
        neutral = meters(outputs.probe_image_embeds, outputs.probe_text_embeds, probe.labels)
        return found | {
            f"probe_{key}": value
            for key, value in neutral.items()
            if f"probe_{key}" in self.figures
        }

    def per_item(self, outputs: ModelOutputs) -> dict[str, PerItem]:
        eval_set, images, texts = self._seen(outputs)
        return {
            "alignment": PerItem(alignment(images, texts[eval_set.own]), eval_set.groups),
            "margin": PerItem(margin(images, texts, eval_set.own, eval_set.pairs), eval_set.groups),
            "total_variance_image": PerItem(variances(images), eval_set.groups),
            "total_variance_text": PerItem(variances(texts), eval_set.caption_groups),
        }

    def notes(self, outputs: ModelOutputs) -> list[str]:
        found, (eval_set, _, _) = self.compute(outputs), self._seen(outputs)
        measured, rows = len(eval_set.rows), len(outputs.eval_set.rows)
        said = [
            f"Effective rank {found['effective_rank_image']:.1f} of images and {found['effective_rank_text']:.1f} of "
            f"captions, of {outputs.image_embeds.shape[1]} dimensions. Uniformity within {RULES['uniformity_image'].limit} and rank "
            f"within {100 * (1 - RULES['effective_rank_image'].limit):.0f} % of the base's are called the same: tuning to one shop narrows a little."
        ]
        if measured < rows:
            said.append(
                f"Taken over {measured:,} of {rows:,} images, picked by the seed, and their captions."
            )
        return said
