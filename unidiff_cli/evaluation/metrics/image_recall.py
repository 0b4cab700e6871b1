"""Search by photo: whether an image's nearest images show the same product, or the same kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unidiff_cli.data.attributes import COLOURS, KINDS
from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.ranking import (
    Ranking,
    chance_precision,
    chance_recall,
    distinct_images,
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
class Search:
    """The rankings of one question; `queries` (Q,) are the numbers of the images that ask it."""

    queries: np.ndarray
    ranking: Ranking
    answers: int

    def values(self) -> dict[str, np.ndarray]:
        """What r1_i2i, r5_i2i and map_i2i are the means of, each (Q,)."""
        values = {f"r{k}_i2i": hits(self.ranking.rank, k) for k in KS}
        return values | {"map_i2i": self.ranking.average_precision}


def search_by_image(
    embeds: np.ndarray,
    groups: Sequence[str],
    contents: Sequence[str],
    colours: Sequence[str | None] = (),
) -> Search | None:
    """Each image as a query for the others of its group, of its colour where colours are given.

    `embeds` (N, D) are unit embeddings of the images. None where no group has two images.
    """
    kept, several = _askers(groups, contents, colours)
    queries = np.array(sorted(place for places in several for place in places), np.int64)
    if not len(queries):
        return None
    pairs = np.concatenate([_pairs_among(np.array(places)) for places in several])
    pairs[:, 0] = np.searchsorted(queries, pairs[:, 0])
    answers = embeds[kept]
    ranking = rank_answers(answers[queries], answers, pairs, itself=queries)
    return Search(kept[queries], ranking, len(kept) - 1)


def _pairs_among(places: np.ndarray) -> np.ndarray:
    """Every ordered pair of two different places, int (M, 2)."""
    pairs = np.stack([np.repeat(places, len(places)), np.tile(places, len(places))], axis=1)
    return pairs[pairs[:, 0] != pairs[:, 1]]


def query_count(groups: Sequence[str], contents: Sequence[str]) -> int:
    """How many images have another one of their group: those that `search_by_image` asks for."""
    return sum(map(len, _askers(groups, contents, ())[1]))


def _askers(
    groups: Sequence[str], contents: Sequence[str], colours: Sequence[str | None]
) -> tuple[np.ndarray, list[list[int]]]:
    """The numbers of the distinct images, and the places among them of each group of several."""
    kept = distinct_images(contents)
    members: dict[tuple[str | None, ...], list[int]] = {}
    for place, n in enumerate(kept.tolist()):
        label = (groups[n], colours[n]) if colours else (groups[n],)
        if None not in label:
            members.setdefault(label, []).append(place)
    return kept, [places for places in members.values() if len(places) > 1]


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

    def check(self, eval_set: EvalSet) -> None:
        kinds = eval_set.class_column(KINDS)
        if kinds is None and not query_count(eval_set.groups, eval_set.contents):
            raise WorkError(
                "No held-out product has two images, and no column names kinds.",
                "Leave image_recall out of evaluate.metrics and --gate.",
            )

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        return {key: float(np.mean(item.values)) for key, item in self.per_item(outputs).items()}

    def per_item(self, outputs: ModelOutputs) -> dict[str, PerItem]:
        groups = np.array(outputs.eval_set.groups, object)
        items: dict[str, PerItem] = {}
        if product := self._of_product(outputs):
            of = groups[product.queries]
            items = {key: PerItem(values, of) for key, values in product.values().items()}
        if look := self._of_colour(outputs):
            items["map_i2i_colour"] = PerItem(look.ranking.average_precision, groups[look.queries])
        kinds = self._kinds(outputs)
        if kinds is not None and len(kinds[0]):
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

    def _of_product(self, outputs: ModelOutputs) -> Search | None:
        return outputs.remember(self, "product", lambda: _search(outputs))

    def _of_colour(self, outputs: ModelOutputs) -> Search | None:
        colours = outputs.eval_set.class_column(COLOURS)
        if colours is None:
            return None
        return outputs.remember(self, "colour", lambda: _search(outputs, colours))

    def _kinds(self, outputs: ModelOutputs) -> tuple[np.ndarray, np.ndarray] | None:
        """The images of a kind with neighbours (Q,), and the share of these of it too (Q,)."""
        kinds = outputs.eval_set.class_column(KINDS)
        if kinds is None:
            return None
        return outputs.remember(self, "kinds", lambda: _kind_shares(outputs, kinds))


def _search(outputs: ModelOutputs, colours: Sequence[str | None] = ()) -> Search | None:
    return search_by_image(
        outputs.image_embeds, outputs.eval_set.groups, outputs.eval_set.contents, colours
    )


def _kind_shares(
    outputs: ModelOutputs, kinds: Sequence[str | None]
) -> tuple[np.ndarray, np.ndarray]:
    groups = outputs.eval_set.groups
    kept = np.array([n for n in outputs.eval_set.distinct_images if kinds[n] is not None], np.int64)
    embeds = outputs.image_embeds[kept]
    # Images of a product that are passed over on the way to those of others.
    most = max(np.unique([groups[n] for n in kept], return_counts=True)[1])
    top = rank_answers(
        embeds, embeds, np.empty((0, 2)), top=NEIGHBOURS + int(most), itself=np.arange(len(kept))
    ).top
    queries, shares = [], []
    for place, answers in enumerate(top.tolist()):
        row = kept[place]
        others = [kept[a] for a in answers if a != place and groups[kept[a]] != groups[row]]
        if others:
            queries.append(row)
            shares.append(np.mean([kinds[n] == kinds[row] for n in others[:NEIGHBOURS]]))
    return np.array(queries, np.int64), np.array(shares)
