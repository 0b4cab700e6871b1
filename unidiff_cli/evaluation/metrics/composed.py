"""Queries of an image and a word: whether they find the product in another colour or kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unidiff_cli.data.attributes import named_values
from unidiff_cli.data.rows import column_of
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


@dataclass(frozen=True)
class Questions:
    """Q queries, each an image and a value that its product has in another image.

    `images` (Q,) are the numbers of the images, `values` the words, and `pairs` (M, 2) name the
    images that are right for a query.
    """

    images: np.ndarray
    values: list[str]
    pairs: np.ndarray


def questions(
    groups: Sequence[str], columns: Mapping[str, Sequence[str | None]], distinct: np.ndarray
) -> Questions:
    """Every image with every other value of its product, in each column; `distinct` images ask."""
    members: dict[str, list[int]] = {}
    for number in distinct.tolist():
        members.setdefault(groups[number], []).append(number)
    images, values, pairs = [], list[str](), list[tuple[int, int]]()
    for column in columns.values():
        for product in members.values():
            others = {value for n in product if (value := column[n]) is not None}
            for asking in product:
                if column[asking] is None:
                    continue
                for value in sorted(others - {column[asking]}):
                    pairs += [(len(values), n) for n in product if column[n] == value]
                    images.append(asking)
                    values.append(value)
    return Questions(np.array(images, np.int64), values, np.array(pairs, np.int64).reshape(-1, 2))


class Composed(Metric):
    """R@1, R@5 and mean average precision of an image with a word, as `retrieve` adds them.

    An image asks for each other value that its product has of an attribute: a photo of the jacket
    in red, and "blue". Right are the product's images of that value. Asked is only for attributes
    that captions name, since of others no model can know the words. The image itself is no answer;
    an image that is there twice, byte by byte, counts once.
    """

    place: ClassVar[int] = 16
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        "r1_composed": FigureSpec("Image and word, R@1", "retrieval", "higher", True, False),
        "r5_composed": FigureSpec("Image and word, R@5", "retrieval", "higher", True, False),
        "map_composed": FigureSpec(
            "Image and word, mean average precision", "retrieval", "higher", True, False
        ),
    }

    def check(self, eval_set: EvalSet) -> None:
        if not _questions(eval_set).values:
            raise WorkError(
                "No held-out product has two values of an attribute that captions name.",
                "Leave composed out of evaluate.metrics and --gate.",
            )

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        return {key: float(np.mean(item.values)) for key, item in self.per_item(outputs).items()}

    def per_item(self, outputs: ModelOutputs) -> dict[str, PerItem]:
        asked, ranking = _questions(outputs.eval_set), self._ranking(outputs)
        if not asked.values:
            return {}
        groups = np.array(outputs.eval_set.groups, object)[asked.images]
        return {
            "r1_composed": PerItem(hits(ranking.rank, 1), groups),
            "r5_composed": PerItem(hits(ranking.rank, 5), groups),
            "map_composed": PerItem(ranking.average_precision, groups),
        }

    def references(self, outputs: ModelOutputs) -> dict[str, dict[str, float]]:
        eval_set = outputs.eval_set
        if not _questions(eval_set).values:
            return {}
        right, answers = self._ranking(outputs).right_count, len(eval_set.distinct_images) - 1
        recall = chance_recall(right, answers, (1, 5))
        chance = {f"r{k}_composed": recall[k] for k in recall}
        return {"chance": chance | {"map_composed": chance_precision(right, answers)}}

    def notes(self, outputs: ModelOutputs) -> list[str]:
        asked = _questions(outputs.eval_set)
        if not asked.values:
            return []
        parts = self._parts(outputs)
        alone = [100 * _rank(outputs, asked, part).average_precision.mean() for part in parts]
        products = len({outputs.eval_set.groups[n] for n in asked.images})
        return [
            f"Image and word: {len(asked.values):,} queries of {products:,} products; the image "
            f"alone has mean average precision {alone[0]:.1f} %, the word alone {alone[1]:.1f} %."
        ]

    def _parts(self, outputs: ModelOutputs) -> tuple[np.ndarray, np.ndarray]:
        """The unit embeddings of the queries' images and of their words, each (Q, D)."""
        asked = _questions(outputs.eval_set)
        words = sorted(set(asked.values))
        embeds = outputs.embed_captions("composed.words", words)
        return outputs.image_embeds[asked.images], embeds[np.searchsorted(words, asked.values)]

    def _ranking(self, outputs: ModelOutputs) -> Ranking:
        def rank() -> Ranking:
            images, words = self._parts(outputs)
            both = images + words
            both /= np.maximum(np.linalg.norm(both, axis=1, keepdims=True), 1e-12)
            return _rank(outputs, _questions(outputs.eval_set), both)

        return outputs.remember(self, "ranking", rank)


def _questions(eval_set: EvalSet) -> Questions:
    captions = [" ".join(texts) for texts in column_of(eval_set.rows, "captions")]
    columns = {}
    for name, column in eval_set.class_columns.items():
        named = sum(value is not None for value in named_values(captions, column))
        if 2 * named >= sum(value is not None for value in column):
            columns[name] = column
    return questions(eval_set.groups, columns, eval_set.distinct_images)


def _rank(outputs: ModelOutputs, asked: Questions, queries: np.ndarray) -> Ranking:
    """Queries (Q, D) among the distinct images."""
    distinct = outputs.eval_set.distinct_images
    pairs = np.stack([asked.pairs[:, 0], np.searchsorted(distinct, asked.pairs[:, 1])], axis=1)
    itself = np.searchsorted(distinct, asked.images)
    return rank_answers(queries, outputs.image_embeds[distinct], pairs, itself=itself)
