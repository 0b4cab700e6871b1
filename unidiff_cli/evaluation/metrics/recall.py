"""Retrieval recall: how often a right answer is among the first k, text-to-image and image-to-text.

Answers with an equal caption count as right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unidiff_cli.data.captions import number_distinct, same_text
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.ranking import (
    DIRECTIONS,
    Ranking,
    chance_precision,
    chance_recall,
    hits,
    median_rank,
    rank_answers,
)
from unidiff_cli.evaluation.results import PerItem
from unidiff_cli.evaluation.statistics import bootstrap_mean
from unidiff_cli.reports.schema import Bars, Curve, Details, FigureSpec, Interval

if TYPE_CHECKING:
    from unidiff_cli.evaluation.outputs import ModelOutputs

KS = (1, 5, 10)
# The k of the report's curves.
CURVE_KS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50)


def recall_both_ways(
    images: np.ndarray,
    texts: np.ndarray,
    captions: Sequence[str],
    same: Callable[[str], str] = same_text,
) -> dict[str, float]:
    """`recall_figures` of unit embeddings of N images (N, D) and of their N captions (N, D).

    Rows whose captions are equal are right answers to each other; the list of captions has each
    once. `same` gives what equal captions have in common.
    """
    caption_of = np.array(number_distinct(captions, same))
    first = np.unique(caption_of, return_index=True)[1]
    pairs = np.stack([caption_of, np.arange(len(caption_of))], axis=1)
    t2i = rank_answers(texts[first], images, pairs)
    i2t = rank_answers(images, texts[first], pairs[:, ::-1])
    return recall_figures({"t2i": t2i, "i2t": i2t})


def query_weights(rankings: Mapping[str, Ranking]) -> dict[str, np.ndarray | None]:
    """The queries' weights: a caption that several rows have is a query for each."""
    return {"t2i": rankings["t2i"].right_count.astype(float), "i2t": None}


def recall_figures(rankings: Mapping[str, Ranking]) -> dict[str, float]:
    """r1_t2i … r10_i2t, map_t2i and map_i2t of the rankings both ways."""
    figures: dict[str, float] = {}
    for way, weights in query_weights(rankings).items():
        rank, precision = rankings[way].rank, rankings[way].average_precision
        figures |= {f"r{k}_{way}": float(np.average(rank < k, weights=weights)) for k in KS}
        figures[f"map_{way}"] = float(np.average(precision, weights=weights))
    return figures


def mean_by_label(
    values: np.ndarray, labels: Sequence[str | None], groups: Sequence[object] | np.ndarray
) -> dict[str, Interval]:
    """The mean of values (Q,) within each label, with its interval, most items first.

    Items without a label (None) are left out; `groups` (Q,) are resampled whole.
    """
    names = np.array(["" if label is None else str(label) for label in labels], object)
    labelled = np.array([label is not None for label in labels])
    units = np.asarray(groups, object)
    rows = {name: labelled & (names == name) for name in dict.fromkeys(names[labelled])}
    return {
        name: bootstrap_mean(np.asarray(values)[rows[name]], groups=units[rows[name]])
        for name in sorted(rows, key=lambda name: -rows[name].sum())
    }


class Recall(Metric):
    """R@1, R@5 and R@10, mean average precision and median rank over the held-out rows.

    Text-to-image: each caption of a row is a query for an image that has an equal caption.
    Image-to-text: each row's image is a query; the list has each distinct caption once, so that
    repeats do not crowd the first k. Captions are equal that the models read alike.
    """

    place: ClassVar[int] = 10
    in_ablations: ClassVar[bool] = True
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        **{
            f"r{k}_{way}": FigureSpec(f"{words} R@{k}", "retrieval", "higher", True, k == 1)
            for way, words in DIRECTIONS.items()
            for k in KS
        },
        **{
            f"map_{way}": FigureSpec(
                f"{words} mean average precision", "retrieval", "higher", True, False
            )
            for way, words in DIRECTIONS.items()
        },
        **{
            f"medr_{way}": FigureSpec(f"{words} median rank", "retrieval", "lower", False, False)
            for way, words in DIRECTIONS.items()
        },
    }

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        medians = {
            f"medr_{way}": median_rank(outputs.rankings[way].rank, weights)
            for way, weights in query_weights(outputs.rankings).items()
        }
        return recall_figures(outputs.rankings) | medians

    def per_item(self, outputs: ModelOutputs) -> dict[str, PerItem]:
        weights, eval_set = query_weights(outputs.rankings), outputs.eval_set
        items: dict[str, PerItem] = {}
        for way, groups in (("t2i", eval_set.caption_groups), ("i2t", eval_set.groups)):
            ranking = outputs.rankings[way]
            for k in KS:
                items[f"r{k}_{way}"] = PerItem(hits(ranking.rank, k), groups, weights[way])
            items[f"map_{way}"] = PerItem(ranking.average_precision, groups, weights[way])
        return items

    def details(self, outputs: ModelOutputs) -> Details:
        """R@k for k up to 50, and image-to-text R@5 by the values of each attribute."""
        eval_set = outputs.eval_set
        ks = [k for k in CURVE_KS if k <= max(10, len(eval_set.captions))]
        curves = [
            Curve(
                title=f"{DIRECTIONS[way]} retrieval",
                caption="R@k: the share of queries with a right answer among the first k.",
                x_label="k",
                y_label="R@k",
                percent=True,
                x=ks,
                y=[float(np.average(outputs.rankings[way].rank < k, weights=weights)) for k in ks],
            )
            for way, weights in query_weights(outputs.rankings).items()
        ]
        hits_at_5 = hits(outputs.rankings["i2t"].rank, 5)
        bars = [
            Bars(
                title=f"R@5 by {name}",
                caption="Image-to-text retrieval for the images of each value.",
                x_label="R@5",
                values=mean_by_label(hits_at_5, column, eval_set.groups),
            )
            for name, column in eval_set.class_columns.items()
        ]
        return Details(curves=curves, bars=bars)

    def references(self, outputs: ModelOutputs) -> dict[str, dict[str, float]]:
        weights, eval_set = query_weights(outputs.rankings), outputs.eval_set
        chance: dict[str, float] = {}
        for way, answers in (("t2i", len(eval_set.rows)), ("i2t", len(eval_set.captions))):
            right_count = outputs.rankings[way].right_count
            recall = chance_recall(right_count, answers, KS, weights[way])
            chance |= {f"r{k}_{way}": value for k, value in recall.items()}
            chance[f"map_{way}"] = chance_precision(right_count, answers, weights[way])
        return {"chance": chance}

    def notes(self, outputs: ModelOutputs) -> list[str]:
        rows, captions = len(outputs.eval_set.rows), len(outputs.eval_set.captions)
        notes = [
            f"{rows:,} images with {captions:,} distinct captions; equal captions count as right, "
            "ties count against the model."
        ]
        if captions < 200:
            notes.append(
                f"One caption more or less moves a figure by about {100 / captions:.1f} points."
            )
        chance = self.references(outputs)["chance"]["r10_i2t"]
        if chance > 0.2:
            notes.append(
                "With so few captions a random order has "
                f"R@10 {100 * chance:.0f} %: compare R@1 instead."
            )
        return notes
