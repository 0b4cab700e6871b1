"""Search by photo: whether an image's nearest images show the same product, or the same kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unidiff_cli.data.attributes import COLOURS, KINDS, column_for
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
# Nearest images of other products whose kind is looked at.
NEIGHBOURS = 5


@dataclass(frozen=True)
class _Search:
    """The rankings of one question; `queries` (Q,) are the numbers of the images that ask it."""

    queries: np.ndarray
    ranking: Ranking
    answers: int


class ImageRecall(Metric):
    """R@1, R@5 and mean average precision of held-out images as queries for the others.

    Right are the other images of the query's product (`i2i`), and of those the ones of its colour
    (`i2i_colour`) where a column names colours. `i2i_kind` is the share of the five nearest images
    of other products that are of the query's kind, where a column names kinds. An image that is
    there twice, byte by byte, counts once; a product with one image asks nothing.
    """

    place: ClassVar[int] = 15
    in_ablations: ClassVar[bool] = True
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        "r1_i2i": FigureSpec("Image-to-image R@1, same product", "retrieval", "higher", True),
        "r5_i2i": FigureSpec(
            "Image-to-image R@5, same product", "retrieval", "higher", True, False
        ),
        "map_i2i": FigureSpec(
            "Image-to-image mean average precision, same product",
            "retrieval",
            "higher",
            True,
            False,
        ),
        "map_i2i_colour": FigureSpec(
            "Image-to-image mean average precision, same product and colour",
            "retrieval",
            "higher",
            True,
            False,
        ),
        "i2i_kind": FigureSpec(
            "Nearest other products of the same kind", "retrieval", "higher", True, False
        ),
    }

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        return {key: float(np.mean(item.values)) for key, item in self.per_item(outputs).items()}

    def per_item(self, outputs: ModelOutputs) -> dict[str, PerItem]:
        groups = np.array(outputs.eval_set.groups, object)
        items: dict[str, PerItem] = {}
        if product := self._of_product(outputs):
            of = groups[product.queries]
            for k in KS:
                items[f"r{k}_i2i"] = PerItem(hits(product.ranking.rank, k), of)
            items["map_i2i"] = PerItem(product.ranking.average_precision, of)
        if look := self._of_colour(outputs):
            items["map_i2i_colour"] = PerItem(look.ranking.average_precision, groups[look.queries])
        kinds = self._kinds(outputs)
        if kinds is not None:
            items["i2i_kind"] = PerItem(kinds[1], groups[kinds[0]])
        return items

    def references(self, outputs: ModelOutputs) -> dict[str, dict[str, float]]:
        chance: dict[str, float] = {}
        if product := self._of_product(outputs):
            right = product.ranking.right_count
            recall = chance_recall(right, product.answers, KS)
            chance |= {f"r{k}_i2i": recall[k] for k in KS}
            chance["map_i2i"] = chance_precision(right, product.answers)
        if look := self._of_colour(outputs):
            chance["map_i2i_colour"] = chance_precision(look.ranking.right_count, look.answers)
        return {"chance": chance} if chance else {}

    def notes(self, outputs: ModelOutputs) -> list[str]:
        product = self._of_product(outputs)
        if product is None:
            return ["No held-out product has two images, so that search by photo is not measured."]
        count = len(set(np.array(outputs.eval_set.groups, object)[product.queries]))
        return [f"Search by photo: {len(product.queries):,} images of {count:,} products ask."]

    # ---- the questions

    def _of_product(self, outputs: ModelOutputs) -> _Search | None:
        return outputs.remember(
            self, "product", lambda: _search(outputs, outputs.eval_set.groups, ())
        )

    def _of_colour(self, outputs: ModelOutputs) -> _Search | None:
        colours = _column(outputs.eval_set, COLOURS)
        if colours is None:
            return None
        return outputs.remember(
            self, "colour", lambda: _search(outputs, outputs.eval_set.groups, colours)
        )

    def _kinds(self, outputs: ModelOutputs) -> tuple[np.ndarray, np.ndarray] | None:
        """The images that have a kind (Q,), and the share of neighbours that have it too (Q,)."""
        kinds = _column(outputs.eval_set, KINDS)
        if kinds is None:
            return None
        return outputs.remember(self, "kinds", lambda: _kind_shares(outputs, kinds))


def _column(eval_set: EvalSet, wanted: Sequence[str]) -> Sequence[str | None] | None:
    """The class column whose name has one of the wanted words; None where none has one."""
    name = column_for(eval_set.class_columns, wanted)
    return None if name is None else eval_set.class_columns[name]


def _search(
    outputs: ModelOutputs, groups: Sequence[str], colours: Sequence[str | None]
) -> _Search | None:
    """Each image as a query for the others of its group, of its colour where colours are given.

    None where no group has two images.
    """
    kept = _distinct(outputs)
    labels = [(groups[n], colours[n]) if colours else (groups[n],) for n in kept]
    members: dict[tuple[str | None, ...], list[int]] = {}
    for place, label in enumerate(labels):
        if None not in label:
            members.setdefault(label, []).append(place)
    several = [places for places in members.values() if len(places) > 1]
    queries = np.array(sorted(place for places in several for place in places), np.int64)
    if not len(queries):
        return None
    number = {place: q for q, place in enumerate(queries.tolist())}
    pairs = [(number[a], b) for places in several for a in places for b in places if a != b]
    embeds = outputs.image_embeds[kept]
    ranking = rank_answers(embeds[queries], embeds, np.array(pairs), itself=queries)
    return _Search(kept[queries], ranking, len(kept) - 1)


def _kind_shares(
    outputs: ModelOutputs, kinds: Sequence[str | None]
) -> tuple[np.ndarray, np.ndarray]:
    groups = outputs.eval_set.groups
    kept = np.array([n for n in _distinct(outputs) if kinds[n] is not None], np.int64)
    embeds = outputs.image_embeds[kept]
    # Images of a product that are passed over on the way to those of others.
    most = max(np.unique([groups[n] for n in kept], return_counts=True)[1])
    top = rank_answers(
        embeds, embeds, np.empty((0, 2)), top=NEIGHBOURS + int(most), itself=np.arange(len(kept))
    ).top
    shares = []
    for place, answers in enumerate(top.tolist()):
        row = kept[place]
        others = [kept[a] for a in answers if a != place and groups[kept[a]] != groups[row]]
        same = [kinds[other] == kinds[row] for other in others[:NEIGHBOURS]]
        shares.append(float(np.mean(same)) if same else 0.0)
    return kept, np.array(shares)


def _distinct(outputs: ModelOutputs) -> np.ndarray:
    """The numbers of the rows, one for each image that differs byte by byte."""
    contents = [row.content or row.id for row in outputs.eval_set.rows]
    return np.sort(np.unique(contents, return_index=True)[1])
