"""summarise: the cells of an ablation as means over seeds and paired tests of recipes."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from unidiff_cli.evaluation.results import (
    BootstrapSamples,
    MetricResult,
    PerItem,
    Results,
    pool,
    table_tests,
)
from unidiff_cli.experiments.cells import CellResult
from unidiff_cli.reports.ablation_schema import SeedFigure
from unidiff_cli.reports.schema import FigureSpec, FigureTest

# Variant -> seed -> the results of the folds; the first variant is the base.
Grid = Mapping[str, Mapping[int, Sequence[CellResult]]]
SECONDS = "seconds"
SECONDS_SPEC = FigureSpec("Training, s", "knowledge", "lower", headline=False)


@dataclass(frozen=True)
class Summary:
    """What an ablation found, by figure; `figures` by variant first."""

    figures: dict[str, dict[str, SeedFigure]]
    specs: dict[str, FigureSpec]
    chance: dict[str, float]
    tests: list[FigureTest]
    notes: list[str]


def summarise(
    grid: Grid,
    specs: Mapping[str, FigureSpec],
    pairs: Sequence[tuple[str, str]],
    tested: Sequence[str],
    *,
    generated: int,
    margin: float | None = None,
) -> Summary:
    """Every variant's figures over seeds, and the tests of each pair by the figures `tested`.

    `specs` are those of all metrics, `generated` the images that a seed's models generate over all
    folds. Folds of a seed are pooled; for the tests each item is averaged over the seeds. All tests
    are one table, with a margin in points if any.
    """
    pooled = {
        variant: {seed: _pooled(folds) for seed, folds in seeds.items()}
        for variant, seeds in grid.items()
    }
    averages = {
        variant: {
            metric: average([results[metric] for results in seeds.values()])
            for metric in next(iter(seeds.values()))
        }
        for variant, seeds in pooled.items()
    }
    figures = {
        variant: _seed_figures(seeds.values(), grid[variant]) for variant, seeds in pooled.items()
    }
    measured = {key for by_figure in figures.values() for key in by_figure}
    specs = {key: spec for key, spec in specs.items() if key in measured}
    asked = {key: spec for key, spec in specs.items() if key in tested}
    chance: dict[str, float] = {}
    for result in averages[next(iter(grid))].values():
        chance |= result.references.get("chance", {})
    return Summary(
        figures,
        {**specs, SECONDS: SECONDS_SPEC},
        chance,
        table_tests(pairs, averages, asked, generated, margin),
        _notes(result for seeds in grid.values() for folds in seeds.values() for result in folds),
    )


def average(seeds: Sequence[MetricResult]) -> MetricResult:
    """One recipe over its seeds: every item and every bootstrap figure as its mean.

    Items of two recipes stay paired.
    """
    first = seeds[0]
    per_item = {
        key: PerItem(
            np.mean([each.per_item[key].values for each in seeds], axis=0),
            items.groups,
            items.weights,
        )
        for key, items in first.per_item.items()
        if all(
            key in each.per_item and len(each.per_item[key].values) == len(items.values)
            for each in seeds
        )
    }
    bootstrap = {
        key: BootstrapSamples(
            np.mean([each.bootstrap[key].values for each in seeds], axis=0),
            samples.items,
            samples.groups,
        )
        for key, samples in first.bootstrap.items()
        if all(key in each.bootstrap for each in seeds)
    }
    figures = {
        key: statistics.fmean(each.figures[key] for each in seeds)
        for key in first.figures
        if all(key in each.figures for each in seeds)
    }
    return MetricResult(
        figures, per_item, bootstrap, references=first.references, notes=first.notes
    )


def _pooled(folds: Sequence[CellResult]) -> Results:
    """The results of one seed over its folds."""
    return {metric: pool([fold.results[metric] for fold in folds]) for metric in folds[0].results}


def _seed_figures(
    seeds: Iterable[Results], cells: Mapping[int, Sequence[CellResult]]
) -> dict[str, SeedFigure]:
    """The figures that every seed has, and the seconds of training."""
    values: dict[str, list[float]] = {}
    for results in seeds:
        for result in results.values():
            for key, value in result.figures.items():
                values.setdefault(key, []).append(value)
    for folds in cells.values():
        trainings = [fold.training for fold in folds if fold.training]
        if trainings:
            seconds = sum(training.seconds for training in trainings)
            values.setdefault(SECONDS, []).append(seconds)
    return {
        key: SeedFigure(
            mean=statistics.fmean(each),
            sd=statistics.stdev(each) if len(each) > 1 else None,
            seeds=each,
        )
        for key, each in values.items()
        if len(each) == len(cells)
    }


def all_pairs(recipes: Sequence[str], references: Sequence[str]) -> list[tuple[str, str]]:
    """Every recipe with the first one and the references; each pair once."""
    against = list(dict.fromkeys([*recipes[:1], *references]))
    return [
        (recipe, reference)
        for number, reference in enumerate(against)
        for recipe in recipes
        if recipe != reference and recipe not in against[:number]
    ]


def _notes(results: Iterable[CellResult]) -> list[str]:
    """The notes that the metrics make in every cell.

    A note on one cell's own figures says nothing of a mean over cells.
    """
    cells = [result.results for result in results]
    return [
        note
        for metric in cells[0]
        for note in cells[0][metric].notes
        if all(note in each[metric].notes for each in cells)
    ]
