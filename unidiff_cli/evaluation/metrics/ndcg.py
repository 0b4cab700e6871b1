"""NDCG@10: whether the first ten images are of the product, or else of its colour and kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unidiff_cli.data.attributes import COLOURS, KINDS
from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.results import PerItem
from unidiff_cli.reports.schema import FigureSpec

if TYPE_CHECKING:
    from unidiff_cli.evaluation.eval_set import EvalSet
    from unidiff_cli.evaluation.outputs import ModelOutputs

# Places of a ranking that count.
K = 10
# What an answer may share with the query, the best first. The last has grade 1.
GRADES = (("product", "colour"), ("product",), ("kind", "colour"), ("kind",))


def ndcg(scores: np.ndarray, grades: np.ndarray, k: int = K) -> float:
    """The normalised discounted cumulative gain of the first k of scores (N,) with grades (N,).

    Σ grade/log₂(1 + place), divided by that of the best order (Järvelin & Kekäläinen, ACM TOIS 20
    (2002) 422, with the discount of all places). Scores are rounded to 6 decimals and ties count
    against the model. 0 where nothing has a grade.
    """
    scores = np.where(np.isfinite(scores), scores, -np.inf)
    order = np.lexsort([grades, -np.round(scores, 6)])[:k]
    discounts = 1 / np.log2(np.arange(2, len(order) + 2))
    best = np.sort(grades)[::-1][:k] @ discounts
    return float(grades[order] @ discounts / best) if best else 0.0


def grades_of(rows: Sequence[int], labels: Mapping[str, Sequence[object]]) -> np.ndarray:
    """The grade (N,) of every row for a query that any of `rows` answers; 0 for none of GRADES.

    `labels` gives each row's product, and its colour and kind where the catalogue has them; a row
    without one (None) shares it with no other.
    """
    columns = {name: np.array(column, object) for name, column in labels.items()}
    levels = [level for level in GRADES if set(level) <= columns.keys()]
    count = len(next(iter(columns.values())))
    grades = np.zeros(count)
    for row in rows:
        for grade, level in enumerate(reversed(levels), 1):
            shares = np.ones(count, bool)
            for name in level:
                value = columns[name][row]
                shares &= (columns[name] == value) if value is not None else False
            grades[shares] = np.maximum(grades[shares], grade)
    return grades


class Ndcg(Metric):
    """NDCG@10 with graded relevance: the product, else products of its kind and colour.

    An image is better the more it shares with what was asked for: the product in its colour, the
    product, another product of its kind and colour, another of its kind. Only columns that the
    catalogue has count; the grades are 1, 2, … of those that are left. A caption asks for all
    images (`t2i`) as any of its rows does, an image for all others (`i2i`).
    """

    place: ClassVar[int] = 12
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        "ndcg_t2i": FigureSpec("Text-to-image NDCG@10", "retrieval", "higher", True, False),
        "ndcg_i2i": FigureSpec("Image-to-image NDCG@10", "retrieval", "higher", True, False),
    }

    def check(self, eval_set: EvalSet) -> None:
        if eval_set.class_column(KINDS) is None:
            raise WorkError(
                "No column names kinds, so relevance has no grades.",
                "Leave ndcg out of evaluate.metrics and --gate.",
            )

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        return {
            key: float(np.average(item.values, weights=item.weights))
            for key, item in self.per_item(outputs).items()
        }

    def per_item(self, outputs: ModelOutputs) -> dict[str, PerItem]:
        return outputs.remember(self, "items", lambda: _items(outputs))

    def notes(self, outputs: ModelOutputs) -> list[str]:
        names = _labels(outputs.eval_set)
        levels = [" and ".join(level) for level in GRADES if set(level) <= names.keys()]
        grades = ", ".join(f"{n} the same {w}" for n, w in enumerate(reversed(levels), 1))
        return [f"Grades of relevance: {grades}."]


def _labels(eval_set: EvalSet) -> dict[str, Sequence[object]]:
    labels: dict[str, Sequence[object]] = {"product": eval_set.groups}
    for name, wanted in (("colour", COLOURS), ("kind", KINDS)):
        column = eval_set.class_column(wanted)
        if column is not None:
            labels[name] = column
    return labels


def _items(outputs: ModelOutputs) -> dict[str, PerItem]:
    eval_set = outputs.eval_set
    labels, images = _labels(eval_set), outputs.image_embeds
    rows_of: dict[int, list[int]] = {}
    for caption, row in eval_set.pairs.tolist():
        rows_of.setdefault(caption, []).append(row)
    by_text = [
        ndcg(images @ outputs.text_embeds[caption], grades_of(rows, labels))
        for caption, rows in sorted(rows_of.items())
    ]
    distinct = eval_set.distinct_images
    others = {name: [column[n] for n in distinct] for name, column in labels.items()}
    answers = images[distinct]
    by_image = []
    for place in range(len(distinct)):
        grades = grades_of([place], others)
        if len(grades) > 1:
            by_image.append(
                ndcg(np.delete(answers @ answers[place], place), np.delete(grades, place))
            )
    # A caption that several rows have is a query for each, as in `recall`.
    weights = np.array([len(rows) for _, rows in sorted(rows_of.items())], float)
    items = {"ndcg_t2i": PerItem(np.array(by_text), eval_set.caption_groups, weights)}
    if by_image:
        groups = [eval_set.groups[n] for n in distinct]
        items["ndcg_i2i"] = PerItem(np.array(by_image), groups)
    return items
