"""Metrics: each is one file, a pydantic model whose `compute` reads Evidence and gives back named figures.

    class Sharpness(Metric):                      # metrics/sharpness.py is `sharpness` in a recipe
        reads = frozenset({"generated_features"})
        figures = {"sharpness": Figure("Sharpness", "pictures", better="higher")}
        def compute(self, evidence): ...          # -> {"sharpness": 0.7}
        def items(self, evidence): ...            # what the mean is of, for intervals and paired tests

The numbers come from pure functions of arrays in the same file. A metric that is not asked for is not computed,
and what only it reads is not made either. Imports of torch stay inside functions.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypeVar

import numpy as np

from ..captions import fold
from ..recipe import Section
from ._statistics import FEWEST, Comparison, Interval, bootstrap_mean, interval, paired, paired_draws

if TYPE_CHECKING:
    from ._evidence import Evidence, HeldOut
    from ._scorer import Scorer

Progress = Callable[[str, int, int], None]
M = TypeVar("M")
T = TypeVar("T")


@cache
def scorer() -> Scorer:
    """The independent frozen scorer that comes with unidiff, loaded once. Raises EnvironmentProblem."""
    import torch

    from . import _scorer

    return _scorer.Scorer.read(_scorer.FOLDER).to("cuda" if torch.cuda.is_available() else "cpu")


def same(caption: str) -> str:
    """What equal captions have in common: they may differ in case and blanks."""
    return fold(caption).casefold()


def once(method: Callable[[M, Evidence], T]) -> Callable[[M, Evidence], T]:
    """A metric's method that is computed once for each evidence, which keeps it."""

    @wraps(method)
    def remembered(metric: M, evidence: Evidence) -> T:
        known = vars(evidence).setdefault("_once", {})
        key = metric, method.__name__
        if key not in known:
            known[key] = method(metric, evidence)
        return known[key]

    return remembered


class Figure(NamedTuple):
    """How a figure is read: its name on paper, what it judges, and which way is better."""

    label: str
    judges: Literal["retrieval", "pictures", "knowledge"]
    better: Literal["higher", "lower"]
    percent: bool = False  # the figure is a share, shown in %
    headline: bool = True  # counts in the verdict


class Items(NamedTuple):
    """What a figure is the (weighted) mean of, and which items succeed and fail together."""

    values: np.ndarray  # (n,)
    groups: Sequence[object] | np.ndarray  # (n,) a product, a prompt
    weights: np.ndarray | None = None


class Draws(NamedTuple):
    """Bootstrap figures of what is no mean, nan where a resample has none; the same seed resamples every model alike."""

    values: np.ndarray  # (B,)
    items: int
    groups: int


class Metric(Section):
    """One way to measure a model. Every dict below is keyed by the names in `figures`."""

    reads: ClassVar[frozenset[str]]  # the names of Evidence it looks at
    figures: ClassVar[Mapping[str, Figure]]
    on_request: ClassVar[bool] = False  # it is slow: measured only where evaluate.metrics or a gate names it

    @abstractmethod
    def compute(self, evidence: Evidence) -> dict[str, float]:
        """The figures of one model."""

    def refuse(self, held: HeldOut) -> None:
        """Raises WorkError, before anything is drawn, where the figures would mislead."""

    def items(self, evidence: Evidence) -> dict[str, Items]:
        """What those figures are means of that are means."""
        return {}

    def draws(self, evidence: Evidence) -> dict[str, Draws]:
        """Bootstrap figures of those that are not."""
        return {}

    def references(self, evidence: Evidence) -> dict[str, dict[str, float]]:
        """What to hold the figures against: `chance`, `real` (real pictures in place of drawn ones), and `noise`
        (the typical size of a figure whose truth is 0)."""
        return {}

    def shows(self, evidence: Evidence) -> dict[str, Any]:
        """What else is worth a look, as JSON: curves, a confusion, near copies. The report knows their names."""
        return {}

    def notes(self, evidence: Evidence) -> list[str]:
        """The figures' own warnings, in whole sentences."""
        return []


class Measured(NamedTuple):
    """One model by one metric, without the model."""

    figures: dict[str, float]
    items: dict[str, Items]
    draws: dict[str, Draws]
    shows: dict[str, Any]
    references: dict[str, dict[str, float]]
    notes: list[str]

    @classmethod
    def of(cls, metric: Metric, evidence: Evidence) -> Measured:
        figures = metric.compute(evidence)
        items = {key: found for key, found in metric.items(evidence).items() if key in figures}
        draws = {key: found for key, found in metric.draws(evidence).items() if key in figures}
        return cls(
            figures, items, draws,
            metric.shows(evidence), metric.references(evidence), metric.notes(evidence),
        )  # fmt: skip

    @classmethod
    def pooled(cls, folds: Sequence[Measured]) -> Measured:
        """One model kind over folds that share no item: means over all items, other figures as means over folds.

        A figure that some fold has not is left out. Noise of independent folds falls with their number.
        """

        def shared(each: Sequence[Mapping[str, Any]]) -> list[str]:
            return [key for key in each[0] if all(key in one for one in each)]

        items, draws = {}, {}
        for key in shared([f.items for f in folds]):
            values, groups, weights = zip(*(f.items[key] for f in folds), strict=True)
            together = None if weights[0] is None else np.concatenate(weights)
            items[key] = Items(np.concatenate(values), [g for each in groups for g in each], together)
        for key in shared([f.draws for f in folds]):
            values, counts, groups = zip(*(f.draws[key] for f in folds), strict=True)
            known = np.isfinite(values)
            total = np.where(known, values, 0).sum(axis=0)
            with np.errstate(invalid="ignore"):
                draws[key] = Draws(total / known.sum(axis=0), sum(counts), sum(groups))
        figures = {
            key: float(np.mean([f.figures[key] for f in folds])) for key in shared([f.figures for f in folds])
        }
        figures |= {key: float(np.average(i.values, weights=i.weights)) for key, i in items.items()}
        references: dict[str, dict[str, float]] = {}
        for kind in shared([f.references for f in folds]):
            for key in shared([f.references[kind] for f in folds]):
                each = np.array([f.references[kind][key] for f in folds])
                level = np.sqrt((each**2).sum()) / len(each) if kind == "noise" else each.mean()
                references.setdefault(kind, {})[key] = float(level)
        notes = list(dict.fromkeys(note for f in folds for note in f.notes))
        return cls(figures, items, draws, {}, references, notes)

    def intervals(self) -> dict[str, Interval]:
        """95 % bootstrap intervals, whole groups resampled; a figure that has none is left out."""
        found = {
            k: bootstrap_mean(i.values, i.weights, i.groups) for k, i in self.items.items() if len(i.values)
        }
        for key, drawn in self.draws.items():
            known = drawn.values[np.isfinite(drawn.values)]
            if len(known) > 1 and drawn.groups >= FEWEST:
                found[key] = interval(self.figures[key], known, drawn.items, drawn.groups)
        return found


def compared(described: Mapping[str, Figure], before: Measured, after: Measured) -> dict[str, Comparison]:
    """Paired tests of two models on the same items, by figure."""
    found = {}
    for key, figure in described.items():
        if key in before.items and key in after.items:
            mine, theirs = before.items[key], after.items[key]
            if len(mine.values) == len(theirs.values) and len(mine.values):
                found[key] = paired(mine.values, theirs.values, mine.weights, mine.groups, figure.better)
        elif key in before.draws and key in after.draws:
            first, second = before.draws[key], after.draws[key]
            both = np.isfinite(first.values) & np.isfinite(second.values)
            if both.sum() > 1:
                values = before.figures[key], after.figures[key], first.values[both], second.values[both]
                found[key] = paired_draws(*values, first.items, first.groups, figure.better)
    return found
