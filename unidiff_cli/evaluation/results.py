"""What a metric gives back: figures, what they are means of, and their tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from unidiff_cli.evaluation.statistics import (
    FEWEST,
    Comparison,
    Interval,
    bootstrap_mean,
    interval,
    paired,
    paired_draws,
)

if TYPE_CHECKING:
    from unidiff_cli.evaluation.metrics import Metric
    from unidiff_cli.evaluation.outputs import ModelOutputs

class FigureSpec(NamedTuple):
    """How a figure is read: its name on paper, what it judges, and which way is better."""

    label: str
    judges: Literal["retrieval", "generation", "knowledge"]
    better: Literal["higher", "lower"]
    percent: bool = False  # the figure is a share, shown in %
    headline: bool = True  # counts in the verdict


class PerItem(NamedTuple):
    """What a figure is the (weighted) mean of, and which items succeed and fail together."""

    values: np.ndarray  # (n,)
    groups: Sequence[object] | np.ndarray  # (n,) a product, a prompt
    weights: np.ndarray | None = None


class BootstrapSamples(NamedTuple):
    """Bootstrap figures of what is no mean, nan where a resample has none; the same seed resamples every model alike."""

    values: np.ndarray  # (B,)
    items: int
    groups: int


class MetricResult(NamedTuple):
    """One model by one metric, without the model."""

    figures: dict[str, float]
    items: dict[str, PerItem]
    draws: dict[str, BootstrapSamples]
    shows: dict[str, Any]
    references: dict[str, dict[str, float]]
    notes: list[str]

    @classmethod
    def of(cls, metric: Metric, outputs: ModelOutputs) -> MetricResult:
        figures = metric.compute(outputs)
        items = {key: found for key, found in metric.per_item(outputs).items() if key in figures}
        draws = {key: found for key, found in metric.bootstrap(outputs).items() if key in figures}
        return cls(
            figures, items, draws,
            metric.details(outputs), metric.references(outputs), metric.notes(outputs),
        )  # fmt: skip

    @classmethod
    def pooled(cls, folds: Sequence[MetricResult]) -> MetricResult:
        """One model kind over folds that share no item: means over all items, other figures as means over folds.

        A figure that some fold has not is left out. Noise of independent folds falls with their number.
        """

        def shared(each: Sequence[Mapping[str, Any]]) -> list[str]:
            return [key for key in each[0] if all(key in one for one in each)]

        items, draws = {}, {}
        for key in shared([f.items for f in folds]):
            values, groups, weights = zip(*(f.items[key] for f in folds), strict=True)
            together = None if weights[0] is None else np.concatenate(weights)
            items[key] = PerItem(
                np.concatenate(values), [g for each in groups for g in each], together
            )
        for key in shared([f.draws for f in folds]):
            values, counts, groups = zip(*(f.draws[key] for f in folds), strict=True)
            known = np.isfinite(values)
            total = np.where(known, values, 0).sum(axis=0)
            with np.errstate(invalid="ignore"):
                draws[key] = BootstrapSamples(total / known.sum(axis=0), sum(counts), sum(groups))
        figures = {
            key: float(np.mean([f.figures[key] for f in folds]))
            for key in shared([f.figures for f in folds])
        }
        figures |= {key: float(np.average(i.values, weights=i.weights)) for key, i in items.items()}
        references: dict[str, dict[str, float]] = {}
        for kind in shared([f.references for f in folds]):
            for key in shared([f.references[kind] for f in folds]):
                each = np.array([f.references[kind][key] for f in folds])
                level = np.sqrt((each**2).sum()) / len(each) if kind == "null_level" else each.mean()
                references.setdefault(kind, {})[key] = float(level)
        notes = list(dict.fromkeys(note for f in folds for note in f.notes))
        return cls(figures, items, draws, {}, references, notes)

    def intervals(self) -> dict[str, Interval]:
        """95 % bootstrap intervals, whole groups resampled; a figure that has none is left out."""
        found = {
            k: bootstrap_mean(i.values, i.weights, i.groups)
            for k, i in self.items.items()
            if len(i.values)
        }
        for key, drawn in self.draws.items():
            known = drawn.values[np.isfinite(drawn.values)]
            if len(known) > 1 and drawn.groups >= FEWEST:
                found[key] = interval(self.figures[key], known, drawn.items, drawn.groups)
        return found


def compared(
    described: Mapping[str, FigureSpec], before: MetricResult, after: MetricResult
) -> dict[str, Comparison]:
    """Paired tests of two models on the same items, by figure."""
    found = {}
    for key, figure in described.items():
        if key in before.items and key in after.items:
            mine, theirs = before.items[key], after.items[key]
            if len(mine.values) == len(theirs.values) and len(mine.values):
                found[key] = paired(
                    mine.values, theirs.values, mine.weights, mine.groups, figure.better
                )
        elif key in before.draws and key in after.draws:
            first, second = before.draws[key], after.draws[key]
            both = np.isfinite(first.values) & np.isfinite(second.values)
            if both.sum() > 1:
                values = (
                    before.figures[key],
                    after.figures[key],
                    first.values[both],
                    second.values[both],
                )
                found[key] = paired_draws(*values, first.items, first.groups, figure.better)
    return found
