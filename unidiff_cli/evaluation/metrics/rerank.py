"""Re-ranking: whether a model's image encoder improves the list that the base's CLIP found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.ranking import DIRECTIONS, Ranking, Rescore, hits, rank_answers
from unidiff_cli.evaluation.results import PerItem
from unidiff_cli.reports.schema import FigureSpec

if TYPE_CHECKING:
    from unidiff_cli.evaluation.outputs import ModelOutputs

# The first answers of CLIP's list that are put in another order.
LIST = 50
# Which score orders these: the model's own, or its sum with CLIP's, both of the same spread.
KINDS = {"rerank": "re-ranked", "fused": "re-ranked by both scores"}


class Rerank(Metric):
    """R@1 and mean average precision of the base's CLIP, its first 50 answers in another order.

    The order is by the model's own image encoder (`rerank`), or by the sum of both cosines, each
    standardised over the list (`fused`). Answers behind the first 50 stay where they are. The
    base's own figures are CLIP's list as it is: the control of all other models.
    """

    place: ClassVar[int] = 17
    on_request: ClassVar[bool] = True
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        f"{kind}_{figure}_{way}": FigureSpec(
            f"{words} {name} of CLIP's first {LIST}, {how}", "retrieval", "higher", True, False
        )
        for kind, how in KINDS.items()
        for figure, name in (("r1", "R@1"), ("map", "mean average precision"))
        for way, words in DIRECTIONS.items()
    }

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        return {
            key: float(np.average(item.values, weights=item.weights))
            for key, item in self.per_item(outputs).items()
        }

    def per_item(self, outputs: ModelOutputs) -> dict[str, PerItem]:
        eval_set, items = outputs.eval_set, dict[str, PerItem]()
        for kind in KINDS:
            for way, ranking in self._rankings(outputs, kind).items():
                groups = eval_set.caption_groups if way == "t2i" else eval_set.groups
                # A caption that several rows have is a query for each, as in `recall`.
                weights = ranking.right_count.astype(float) if way == "t2i" else None
                items[f"{kind}_r1_{way}"] = PerItem(hits(ranking.rank, 1), groups, weights)
                items[f"{kind}_map_{way}"] = PerItem(ranking.average_precision, groups, weights)
        return items

    def notes(self, outputs: ModelOutputs) -> list[str]:
        eval_set = outputs.eval_set
        rows, captions = len(eval_set.rows), len(eval_set.captions)
        notes = [
            f"The lists are the first {LIST} of {rows:,} images and of {captions:,} captions by "
            "the base's CLIP; the base's figures are these lists as they are."
        ]
        if min(rows, captions) <= LIST:
            notes.append(
                f"A list of {LIST} that holds every answer is the model's own retrieval, and no "
                "choice of CLIP's."
            )
        return notes

    def _rankings(self, outputs: ModelOutputs, kind: str) -> dict[str, Ranking]:
        return outputs.remember(self, kind, lambda: _rerank(outputs, kind == "fused"))


def _rerank(outputs: ModelOutputs, fuse: bool) -> dict[str, Ranking]:
    """Both ways of retrieval by the base's CLIP, its first answers in the model's order."""
    clip, pairs = outputs.base_outputs or outputs, outputs.eval_set.pairs
    rankings = {}
    for way, right in (("t2i", pairs), ("i2t", pairs[:, ::-1])):
        lists, model = _sides(clip, way), _sides(outputs, way)
        rescore = rescorer(*model, fuse)
        rankings[way] = rank_answers(*lists, right, top=LIST, rescore=rescore)
    return rankings


def _sides(outputs: ModelOutputs, way: str) -> tuple[np.ndarray, np.ndarray]:
    """Queries and answers of a way of retrieval."""
    texts, images = outputs.text_embeds, outputs.image_embeds
    return (texts, images) if way == "t2i" else (images, texts)


def rescorer(queries: np.ndarray, answers: np.ndarray, fuse: bool) -> Rescore:
    """Scores by other embeddings of the same queries (Q, D) and answers (N, D), unit vectors.

    Where they are fused, cosines of both are standardised over the list and added. A cosine that is
    not a number is the worst.
    """

    def rescore(number: int, best: np.ndarray, scores: np.ndarray) -> np.ndarray:
        cosines = np.nan_to_num(answers[best] @ queries[number], nan=-1, posinf=-1, neginf=-1)
        return _standardised(cosines) + _standardised(scores) if fuse else cosines

    return rescore


def _standardised(scores: np.ndarray) -> np.ndarray:
    """Scores (k,) of mean 0 and deviation 1; equal ones are 0."""
    finite = np.nan_to_num(scores, nan=-1, posinf=-1, neginf=-1)
    spread = float(finite.std())
    return (finite - finite.mean()) / spread if spread > 1e-9 else np.zeros_like(finite)
