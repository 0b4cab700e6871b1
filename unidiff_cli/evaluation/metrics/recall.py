"""Retrieval recall: how often the right answer is among the first k, both ways, equal captions counted as right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import comb
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from unidiff_cli.data.captions import number_distinct
from unidiff_cli.evaluation.attribute_columns import categories
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.results import FigureSpec, PerItem
from unidiff_cli.evaluation.statistics import Interval, bootstrap_mean

if TYPE_CHECKING:
    from unidiff_cli.evaluation.outputs import ModelOutputs


from unidiff_cli.evaluation.ranking import hits, median_rank, ranked

KS = (1, 5, 10)
CURVE = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50)  # the k of the report's curves
WAYS = {"t2i": "text → image", "i2t": "image → text"}


def recall_both_ways(
    images: np.ndarray, texts: np.ndarray, captions: Sequence[str]
) -> dict[str, float]:
    """r1_t2i … r10_i2t for an image and a caption a row: unit vectors (N, D), (N, D) and the N captions.

    Rows whose captions are equal are right answers to each other; the list of captions holds each once.
    """
    own = np.array(number_distinct(captions))
    first = np.unique(own, return_index=True)[1]
    pairs = np.stack([own, np.arange(len(own))], axis=1)
    t2i, i2t = ranked(texts[first], images, pairs), ranked(images, texts[first], pairs[:, ::-1])
    found = {f"r{k}_t2i": float(np.average(t2i.rank < k, weights=t2i.right)) for k in KS}
    return found | {f"r{k}_i2t": float((i2t.rank < k).mean()) for k in KS}


def chance_recall(
    right: np.ndarray, answers: int, ks: Sequence[int] = KS, weights: np.ndarray | None = None
) -> dict[int, float]:
    """R@k of a random order for queries with `right` (Q,) right ones among so many answers."""
    n = answers
    missed = {
        (r, k): comb(n - r, min(k, n)) / comb(n, min(k, n)) for r in set(right.tolist()) for k in ks
    }
    return {
        k: float(np.average([1 - missed[r, k] for r in right.tolist()], weights=weights))
        for k in ks
    }


def chance_precision(right: np.ndarray, answers: int, weights: np.ndarray | None = None) -> float:
    """The mean average precision of a random order, exactly: (R−1)/(N−1) + H_N (N−R)/(N(N−1)) for R right of N."""
    n, r = answers, np.asarray(right, float)
    if n < 2:
        return float(np.average(r > 0, weights=weights))
    harmonic = float((1 / np.arange(1, n + 1)).sum())
    each = np.where(r > 0, (r - 1) / (n - 1) + harmonic * (n - r) / (n * (n - 1)), 0.0)
    return float(np.average(each, weights=weights))


def by_label(
    values: np.ndarray,
    labels: Sequence[str | None],
    groups: Sequence[object] | np.ndarray | None = None,
    least: int = 1,
) -> dict[str, Interval]:
    """The mean of values (Q,) within each label (a product, an attribute's value), with its interval, most items first.

    Items without a label (None) are left out, and labels of fewer than `least` items.
    """
    names = np.array(["" if label is None else str(label) for label in labels], object)
    known = np.array([label is not None for label in labels])
    unit = np.asarray(list(range(len(values))) if groups is None else groups, object)
    found = {
        name: bootstrap_mean(np.asarray(values)[mine], groups=unit[mine])
        for name in dict.fromkeys(names[known])
        if (mine := known & (names == name)).sum() >= least
    }
    return dict(sorted(found.items(), key=lambda item: -item[1].items))


class Recall(Metric):
    """R@1, R@5 and R@10 over the held-out split.

    Every row is a query both ways. Text → image: each of a row's captions asks for an image that has an
    equal caption. Image → text: the list holds each distinct caption once, so that repeats do not crowd the
    first k. Captions are equal when they are the same but for case and blanks.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"image_embeds", "text_embeds"})
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        **{
            f"r{k}_{w}": FigureSpec(f"R@{k} {x}", "retrieval", "higher", True, k == 1)
            for w, x in WAYS.items()
            for k in KS
        },
        **{
            f"map_{w}": FigureSpec(
                f"Mean average precision {x}", "retrieval", "higher", True, False
            )
            for w, x in WAYS.items()
        },
        **{
            f"medr_{w}": FigureSpec(f"Median rank {x}", "retrieval", "lower", False, False)
            for w, x in WAYS.items()
        },
    }

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        weights = self._weights(outputs)
        found: dict[str, float] = {}
        for way, each in outputs.found.items():
            found |= {
                f"r{k}_{way}": float(np.average(each.rank < k, weights=weights[way])) for k in KS
            }
            found[f"map_{way}"] = float(np.average(each.precision, weights=weights[way]))
            found[f"medr_{way}"] = median_rank(each.rank, weights[way])
        return found

    def _weights(self, outputs: ModelOutputs) -> dict[str, np.ndarray | None]:
        """A caption that several rows have asks once for each."""
        return {"t2i": outputs.found["t2i"].right.astype(float), "i2t": None}

    def per_item(self, outputs: ModelOutputs) -> dict[str, PerItem]:
        weights, eval_set = self._weights(outputs), outputs.eval_set
        found: dict[str, PerItem] = {}
        for way, groups in (("t2i", eval_set.caption_groups), ("i2t", eval_set.groups)):
            each = outputs.found[way]
            found |= {f"r{k}_{way}": PerItem(hits(each.rank, k), groups, weights[way]) for k in KS}
            found[f"map_{way}"] = PerItem(each.precision, groups, weights[way])
        return found

    def details(self, outputs: ModelOutputs) -> dict[str, Any]:
        """R@k for k up to 50, and R@5 by the values of each attribute."""
        weights, eval_set = self._weights(outputs), outputs.eval_set
        ks = [k for k in CURVE if k <= max(10, len(eval_set.captions))]
        curves = {
            way: [float(np.average(each.rank < k, weights=weights[way])) for k in ks]
            for way, each in outputs.found.items()
        }
        hit = hits(outputs.found["i2t"].rank, 5)
        by = {
            name: {
                value: around._asdict()
                for value, around in by_label(hit, column, eval_set.groups).items()
            }
            for name, column in categories([row.attributes for row in eval_set.rows]).items()
        }
        return {"k": ks, **curves, "by": by}

    def references(self, outputs: ModelOutputs) -> dict[str, dict[str, float]]:
        weights, rows, texts = (
            self._weights(outputs),
            len(outputs.eval_set.rows),
            len(outputs.eval_set.captions),
        )
        level: dict[str, float] = {}
        for way, answers in (("t2i", rows), ("i2t", texts)):
            right = outputs.found[way].right
            level |= {
                f"r{k}_{way}": v
                for k, v in chance_recall(right, answers, weights=weights[way]).items()
            }
            level[f"map_{way}"] = chance_precision(right, answers, weights[way])
        return {"chance": level}

    def notes(self, outputs: ModelOutputs) -> list[str]:
        rows, texts = len(outputs.eval_set.rows), len(outputs.eval_set.captions)
        said = [
            f"{rows:,} images with {texts:,} distinct captions; equal captions count as right, ties against the model."
        ]
        if texts < 200:
            said.append(
                f"One caption more or less moves a figure by about {100 / texts:.1f} points."
            )
        guessed = self.references(outputs)["chance"]["r10_i2t"]
        if guessed > 0.2:
            said.append(
                f"So few captions that a random order has R@10 {100 * guessed:.0f} %: look at R@1."
            )
        return said
