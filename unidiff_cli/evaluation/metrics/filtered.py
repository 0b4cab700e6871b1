"""Text-to-image retrieval with a filter: the right image among those of one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.ranking import (
    Ranking,
    chance_precision,
    chance_recall,
    hits,
    rank_answers,
)
from unidiff_cli.evaluation.results import PerItem
from unidiff_cli.reports.schema import FigureSpec

if TYPE_CHECKING:
    from unidiff_cli.evaluation.eval_set import EvalSet
    from unidiff_cli.evaluation.outputs import ModelOutputs

KS = (1, 5)


@dataclass(frozen=True)
class Part:
    """The captions that ask for images of one value, and their ranking among those images.

    `captions` (C,) are the numbers of the captions, `answers` is the number of the images.
    """

    captions: np.ndarray
    ranking: Ranking
    answers: int

    @property
    def weights(self) -> np.ndarray:
        """A caption of several images counts as often (C,), as it does without a filter."""
        return self.ranking.right_count.astype(float)


class Filtered(Metric):
    """R@1, R@5 and mean average precision of captions among the images of one value.

    As with `retrieve --where "color = 'red'"`: every caption asks once for each attribute that
    names kinds, among the images that have the value of its own image. A caption of images of
    several values asks for each. Fewer images are left than without a filter, so that chance is
    higher; a note gives the mean average precision of the same captions without one.
    """

    place: ClassVar[int] = 14
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        "r1_filtered": FigureSpec("Text with a filter, R@1", "retrieval", "higher", True, False),
        "r5_filtered": FigureSpec("Text with a filter, R@5", "retrieval", "higher", True, False),
        "map_filtered": FigureSpec(
            "Text with a filter, mean average precision", "retrieval", "higher", True, False
        ),
    }

    def check(self, eval_set: EvalSet) -> None:
        if not eval_set.class_columns:
            raise WorkError(
                "No attribute of the catalogue names kinds, so there is nothing to filter by.",
                "Leave filtered out of evaluate.metrics and --gate.",
            )

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        return {
            key: float(np.average(item.values, weights=item.weights))
            for key, item in self.per_item(outputs).items()
        }

    def per_item(self, outputs: ModelOutputs) -> dict[str, PerItem]:
        parts = self._parts(outputs)
        if not parts:
            return {}
        groups = np.array(outputs.eval_set.caption_groups, object)
        groups = np.concatenate([groups[part.captions] for part in parts])
        weights = np.concatenate([part.weights for part in parts])
        rank = np.concatenate([part.ranking.rank for part in parts])
        precision = np.concatenate([part.ranking.average_precision for part in parts])
        items = {f"r{k}_filtered": PerItem(hits(rank, k), groups, weights) for k in KS}
        return items | {"map_filtered": PerItem(precision, groups, weights)}

    def references(self, outputs: ModelOutputs) -> dict[str, dict[str, float]]:
        parts = self._parts(outputs)
        if not parts:
            return {}
        by_part = []
        for part in parts:
            right, weights = part.ranking.right_count, part.weights
            recall = chance_recall(right, part.answers, KS, weights)
            precision = chance_precision(right, part.answers, weights)
            by_part.append([*recall.values(), precision])
        mean = np.average(by_part, axis=0, weights=[part.weights.sum() for part in parts])
        return {"chance": dict(zip(self.figures, mean.tolist(), strict=True))}

    def notes(self, outputs: ModelOutputs) -> list[str]:
        parts = self._parts(outputs)
        if not parts:
            return []
        captions = np.concatenate([part.captions for part in parts])
        weights = np.concatenate([part.weights for part in parts])
        without = outputs.rankings["t2i"].average_precision[captions]
        columns = ", ".join(outputs.eval_set.class_columns)
        return [
            f"Text with a filter: by {columns}. Without one the same captions have mean average "
            f"precision {100 * np.average(without, weights=weights):.1f} %."
        ]

    def _parts(self, outputs: ModelOutputs) -> list[Part]:
        return outputs.remember(self, "parts", lambda: _parts(outputs))


def _parts(outputs: ModelOutputs) -> list[Part]:
    """Every value of every attribute with the captions of its images."""
    eval_set, parts = outputs.eval_set, []
    for column in eval_set.class_columns.values():
        for value in dict.fromkeys(each for each in column if each is not None):
            numbers = np.array([n for n, each in enumerate(column) if each == value])
            pairs = eval_set.pairs[np.isin(eval_set.pairs[:, 1], numbers)]
            captions = np.unique(pairs[:, 0])
            places = [np.searchsorted(captions, pairs[:, 0]), np.searchsorted(numbers, pairs[:, 1])]
            ranking = rank_answers(
                outputs.text_embeds[captions],
                outputs.image_embeds[numbers],
                np.stack(places, axis=1),
            )
            parts.append(Part(captions, ranking, len(numbers)))
    return parts
