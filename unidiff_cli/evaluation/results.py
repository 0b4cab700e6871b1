"""What metrics give back of one model: figures, the values they are means of, and paired tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from unidiff_cli.evaluation.statistics import (
    LEVEL,
    MIN_GROUPS,
    bootstrap_mean,
    holm,
    interval,
    paired,
    paired_bootstrap,
)
from unidiff_cli.reports.schema import Details, FigureSpec, FigureTest, Interval, PairedTest
from unidiff_cli.reports.wording import margin_words, sentence


class PerItem(NamedTuple):
    """The values (n,) that a figure is the (weighted) mean of.

    Items of a group (a product, a prompt) succeed and fail together.
    """

    values: np.ndarray
    groups: Sequence[object] | np.ndarray
    weights: np.ndarray | None = None


class BootstrapSamples(NamedTuple):
    """Bootstrap figures (B,) of a figure that is not a mean, nan where a resample has none.

    The same seed resamples every model alike.
    """

    values: np.ndarray
    items: int
    groups: int


@dataclass(frozen=True)
class MetricResult:
    """One model by one metric. The dictionaries are keyed by figure, `references` by kind first."""

    figures: dict[str, float]
    per_item: dict[str, PerItem] = field(default_factory=dict)
    bootstrap: dict[str, BootstrapSamples] = field(default_factory=dict)
    details: Details = field(default_factory=Details)
    references: dict[str, dict[str, float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def intervals(self) -> dict[str, Interval]:
        """Every figure, with its 95 % bootstrap interval where it has one."""
        intervals = {key: Interval(value) for key, value in self.figures.items()}
        for key, items in self.per_item.items():
            if len(items.values):
                around = bootstrap_mean(items.values, items.weights, items.groups)
                intervals[key] = Interval(**asdict(around) | {"value": self.figures[key]})
        for key, samples in self.bootstrap.items():
            finite = samples.values[np.isfinite(samples.values)]
            if len(finite) > 1 and samples.groups >= MIN_GROUPS:
                intervals[key] = interval(self.figures[key], finite, samples.items, samples.groups)
        return intervals


# One model by every metric.
Results = Mapping[str, MetricResult]


def pool(folds: Sequence[MetricResult]) -> MetricResult:
    """One metric over folds that share no item: means over all items, other figures over folds.

    A figure that some fold does not have is left out, and details are too. The null level of
    independent folds falls with their number.
    """
    per_item = {
        key: _joined([fold.per_item[key] for fold in folds])
        for key in _shared([fold.per_item for fold in folds])
    }
    figures = {
        key: float(np.mean([fold.figures[key] for fold in folds]))
        for key in _shared([fold.figures for fold in folds])
    }
    for key, items in per_item.items():
        figures[key] = float(np.average(items.values, weights=items.weights))
    return MetricResult(
        figures,
        per_item,
        {
            key: _averaged([fold.bootstrap[key] for fold in folds])
            for key in _shared([fold.bootstrap for fold in folds])
        },
        Details(),
        _pooled_references([fold.references for fold in folds]),
        list(dict.fromkeys(note for fold in folds for note in fold.notes)),
    )


def _shared(mappings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys that all have, in the order of the first."""
    return [key for key in mappings[0] if all(key in mapping for mapping in mappings)]


def _joined(folds: Sequence[PerItem]) -> PerItem:
    values, groups, weights = zip(*folds, strict=True)
    return PerItem(
        np.concatenate(values),
        [group for fold in groups for group in fold],
        None if weights[0] is None else np.concatenate(weights),
    )


def _averaged(folds: Sequence[BootstrapSamples]) -> BootstrapSamples:
    values, items, groups = zip(*folds, strict=True)
    finite = np.isfinite(values)
    total = np.where(finite, values, 0).sum(axis=0)
    with np.errstate(invalid="ignore"):
        return BootstrapSamples(total / finite.sum(axis=0), sum(items), sum(groups))


def _pooled_references(
    folds: Sequence[Mapping[str, Mapping[str, float]]],
) -> dict[str, dict[str, float]]:
    references: dict[str, dict[str, float]] = {}
    for kind in _shared(folds):
        for key in _shared([fold[kind] for fold in folds]):
            values = np.array([fold[kind][key] for fold in folds])
            if kind == "null_level":
                level = np.sqrt((values**2).sum()) / len(values)
            else:
                level = values.mean()
            references.setdefault(kind, {})[key] = float(level)
    return references


# ---------------------------------------------------------------- paired tests


def compare_results(
    specs: Mapping[str, FigureSpec],
    before: MetricResult,
    after: MetricResult,
    margin: float | None = None,
) -> dict[str, PairedTest]:
    """Paired tests of two models on the same items, by judged figure; `margin`: of shares."""
    tests = {}
    for key, spec in specs.items():
        if spec.better is None:
            continue
        of_shares = margin if spec.percent else None
        if key in before.per_item and key in after.per_item:
            items, others = before.per_item[key], after.per_item[key]
            if len(items.values) == len(others.values) and len(items.values):
                tests[key] = paired(
                    items.values,
                    others.values,
                    items.weights,
                    items.groups,
                    spec.better,
                    of_shares,
                )
        elif key in before.bootstrap and key in after.bootstrap:
            first, second = before.bootstrap[key], after.bootstrap[key]
            finite = np.isfinite(first.values) & np.isfinite(second.values)
            if finite.sum() > 1:
                tests[key] = paired_bootstrap(
                    before.figures[key],
                    after.figures[key],
                    first.values[finite],
                    second.values[finite],
                    first.items,
                    first.groups,
                    spec.better,
                    of_shares,
                )
    return tests


def table_tests(
    pairs: Sequence[tuple[str, str]],
    results: Mapping[str, Results],
    specs: Mapping[str, FigureSpec],
    generated: int,
    margin: float | None = None,
) -> list[FigureTest]:
    """The paired tests of one table: each (model, against) pair by all metrics.

    Their p values are corrected together (Holm), and a verdict needs a corrected p below 5 %.
    `generated` images of each model were judged: a figure that needs more has no verdict and is no
    part of the correction. `margin` is in points: each share is also tested for not being worse by
    more.
    """
    share = None if margin is None else margin / 100
    tests = [
        (model, against, key, test)
        for model, against in pairs
        for metric, before in results[against].items()
        for key, test in compare_results(specs, before, results[model][metric], share).items()
    ]
    enough = [generated >= specs[key].verdict_images for _, _, key, _ in tests]
    judged = zip(tests, enough, strict=True)
    corrected = iter(holm([test.p for (*_, test), whole in judged if whole]))
    return [
        _figure_test(*each, next(corrected) if whole else None, specs[each[2]], margin)
        for each, whole in zip(tests, enough, strict=True)
    ]


def _figure_test(
    model: str,
    against: str,
    figure: str,
    test: PairedTest,
    corrected: float | None,
    spec: FigureSpec,
    margin: float | None,
) -> FigureTest:
    """A test of a table, by its corrected p; None where too few images were generated."""
    if corrected is None:
        test = replace(test, verdict="too few images")
    elif corrected >= 1 - LEVEL:
        test = replace(test, verdict="not distinguishable")
    words = sentence(test, spec.label, spec.percent)
    if margin is not None and spec.percent:
        words = f"{words[:-1]}; {margin_words(test.not_worse, margin)}."
    return FigureTest(
        **asdict(test),
        model=model,
        against=against,
        figure=figure,
        sentence=words,
        corrected=corrected,
    )
