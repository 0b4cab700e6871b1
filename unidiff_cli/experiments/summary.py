"""TODO docstring."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from unidiff_cli.evaluation.results import (
    BootstrapSamples,
    FigureSpec,
    MetricResult,
    PerItem,
    compared,
)
from unidiff_cli.evaluation.statistics import sentence

Cells = Mapping[
    str, Mapping[int, Sequence[Mapping[str, Any]]]
]  # model -> seed -> what each fold's cell found
SECONDS = FigureSpec("Training, s", "knowledge", "lower", headline=False)
LIMITS = (
    "The s.d. is over training seeds, each seed's figure taken over all folds; a mean of few seeds is uncertain by about s.d./√seeds.",
    "The tests average an item over the seeds first and resample products: they say what other products would, with these very seeds. "
    "They do not hold the spread of new seeds, of another division into folds, or of folds that share training images.",
    "Each figure is tested by itself: of twenty figures one reads as better or worse by chance soon.",
    "Training seconds are those of the steps; cells that ran side by side slowed each other.",
)


def averaged(seeds: Sequence[MetricResult]) -> MetricResult:
    """One recipe over its seeds: every item and every bootstrap figure as its mean, so that items stay paired."""
    first = seeds[0]
    items = {
        key: PerItem(np.mean([s.items[key].values for s in seeds], axis=0), own.groups, own.weights)
        for key, own in first.items.items()
        if all(key in s.items and len(s.items[key].values) == len(own.values) for s in seeds)
    }
    draws = {
        key: BootstrapSamples(
            np.mean([s.draws[key].values for s in seeds], axis=0), own.items, own.groups
        )
        for key, own in first.draws.items()
        if all(key in s.draws for s in seeds)
    }
    figures = {
        key: statistics.fmean(s.figures[key] for s in seeds)
        for key in first.figures
        if all(key in s.figures for s in seeds)
    }
    return MetricResult(figures, items, draws, {}, first.references, first.notes)


def summarised(cells: Cells, described: Mapping[str, FigureSpec]) -> dict[str, Any]:
    """Every model's figures, mean and sample s.d. over seeds (None of one), and tests against the first recipe and `joint`."""
    pooled = {
        model: {
            seed: {metric: MetricResult.pooled([f["measured"][metric] for f in folds]) for metric in folds[0]["measured"]}
            for seed, folds in seeds.items()
        }
        for model, seeds in cells.items()
    }  # fmt: skip
    figures: dict[str, dict[str, dict[str, Any]]] = {}
    for model, seeds in pooled.items():
        each: dict[str, list[float]] = {}
        for measures in seeds.values():
            for measured in measures.values():
                for key, value in measured.figures.items():
                    each.setdefault(key, []).append(value)
        if trained := [
            sum(f["training"]["seconds"] for f in folds)
            for folds in cells[model].values()
            if folds[0]["training"]
        ]:
            each["seconds"] = trained
        figures[model] = {
            key: {
                "mean": statistics.fmean(v),
                "sd": statistics.stdev(v) if len(v) > 1 else None,
                "seeds": v,
            }
            for key, v in each.items()
            if len(v) == len(seeds)
        }
    there = {key for each in figures.values() for key in each}
    known = {key: f for key, f in described.items() if key in there} | {"seconds": SECONDS}
    over = {
        model: {
            metric: averaged([m[metric] for m in seeds.values()])
            for metric in next(iter(seeds.values()))
        }
        for model, seeds in pooled.items()
    }
    _, *trained_models = cells
    against = dict.fromkeys(trained_models[:1] + ["joint"] * ("joint" in trained_models))
    tests = []
    for first in against:
        for model in trained_models:
            if model != first and not (
                model in against and first == "joint"
            ):  # told once, the other way round
                tests += _tests(first, model, over, known)
    return {
        "models": list(cells), "figures": figures, "described": {k: f._asdict() for k, f in known.items()},
        "tests": tests, "limits": list(LIMITS), "notes": _notes(cells),
        "chance": {k: v for m in next(iter(over.values())).values() for k, v in m.references.get("chance", {}).items()},
    }  # fmt: skip


def _notes(cells: Cells) -> list[str]:
    """What the metrics say of every cell alike: a note on one cell's own figures says nothing of a mean over cells."""
    done = [
        found["measured"] for seeds in cells.values() for folds in seeds.values() for found in folds
    ]
    return [
        note
        for metric in done[0]
        for note in done[0][metric].notes
        if all(note in each[metric].notes for each in done)
    ]


def _tests(
    first: str,
    model: str,
    over: Mapping[str, Mapping[str, MetricResult]],
    known: Mapping[str, FigureSpec],
) -> list[dict[str, Any]]:
    found = []
    for metric, before in over[first].items():
        for key, test in compared(known, before, over[model][metric]).items():
            found.append({
                "model": model, "against": first, "figure": key, "difference": test.difference, "low": test.low,
                "high": test.high, "p": test.p, "items": test.items, "groups": test.groups, "verdict": test.verdict,
                "sentence": f"{model} against {first}: {sentence(test, known[key].label, known[key].percent)}",
            })  # fmt: skip
    return found
