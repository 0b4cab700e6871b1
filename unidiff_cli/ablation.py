"""The room `ablation/`: figures of a grid as mean ± s.d. over seeds, paired tests, plots and a page. Trains nothing."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import pages, plots
from .metrics import Draws, Figure, Items, Measured, compared
from .metrics._statistics import sentence
from .project import write_json
from .report import show

Cells = Mapping[
    str, Mapping[int, Sequence[Mapping[str, Any]]]
]  # model -> seed -> what each fold's cell found
SECONDS = Figure("Training, s", "knowledge", "lower", headline=False)
SHOWN = (
    "uniformity_image",
    "effective_rank_image",
    "text_drift",
    "denoiser_drift",
    "seconds",
)  # beside headlines
LIMITS = (
    "The s.d. is over training seeds, each seed's figure taken over all folds; a mean of few seeds is uncertain by about s.d./√seeds.",
    "The tests average an item over the seeds first and resample products: they say what other products would, with these very seeds. "
    "They do not hold the spread of new seeds, of another division into folds, or of folds that share training pictures.",
    "Each figure is tested by itself: of twenty figures one reads as better or worse by chance soon.",
    "Training seconds are those of the steps; cells that ran side by side slowed each other.",
)


def averaged(seeds: Sequence[Measured]) -> Measured:
    """One recipe over its seeds: every item and every bootstrap figure as its mean, so that items stay paired."""
    first = seeds[0]
    items = {
        key: Items(np.mean([s.items[key].values for s in seeds], axis=0), own.groups, own.weights)
        for key, own in first.items.items()
        if all(key in s.items and len(s.items[key].values) == len(own.values) for s in seeds)
    }
    draws = {
        key: Draws(np.mean([s.draws[key].values for s in seeds], axis=0), own.items, own.groups)
        for key, own in first.draws.items()
        if all(key in s.draws for s in seeds)
    }
    figures = {
        key: statistics.fmean(s.figures[key] for s in seeds)
        for key in first.figures
        if all(key in s.figures for s in seeds)
    }
    return Measured(figures, items, draws, {}, first.references, first.notes)


def summarised(cells: Cells, described: Mapping[str, Figure]) -> dict[str, Any]:
    """Every model's figures, mean and sample s.d. over seeds (None of one), and tests against the first recipe and `joint`."""
    pooled = {
        model: {
            seed: {metric: Measured.pooled([f["measured"][metric] for f in folds]) for metric in folds[0]["measured"]}
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
            key: {"mean": statistics.fmean(v), "sd": statistics.stdev(v) if len(v) > 1 else None, "seeds": v}
            for key, v in each.items()
            if len(v) == len(seeds)
        }
    there = {key for each in figures.values() for key in each}
    known = {key: f for key, f in described.items() if key in there} | {"seconds": SECONDS}
    over = {
        model: {
            metric: averaged([m[metric] for m in seeds.values()]) for metric in next(iter(seeds.values()))
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
    done = [found["measured"] for seeds in cells.values() for folds in seeds.values() for found in folds]
    return [
        note
        for metric in done[0]
        for note in done[0][metric].notes
        if all(note in each[metric].notes for each in done)
    ]


def _tests(
    first: str, model: str, over: Mapping[str, Mapping[str, Measured]], known: Mapping[str, Figure]
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


# ---------------------------------------------------------------- the files


def write_tables(room: Path, found: Mapping[str, Any]) -> None:
    """table.json, table.md and report.html."""
    write_json(room / "table.json", found)
    (room / "table.md").write_text(markdown(found), encoding="utf-8")
    page = pages.render(
        "ablation.html.j2", found=found, rows=rows(found), plots=drawn(found), title=title(found)
    )
    (room / "report.html").write_text(page, encoding="utf-8")


def title(found: Mapping[str, Any]) -> str:
    counts = found["counts"]
    folds = f", {counts['folds']} folds" if counts["folds"] else ""
    return f"{', '.join(found['models'][1:])}: {counts['seeds']} seeds{folds}"


def rows(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row a figure: mean ± s.d. of every model, and what its tests say."""
    tests = {(t["model"], t["against"], t["figure"]): t for t in found["tests"]}
    against = list(dict.fromkeys(t["against"] for t in found["tests"]))
    made = []
    for key, about in found["described"].items():
        cells = []
        for model in found["models"]:
            value = found["figures"][model].get(key)
            said = [t for other in against if (t := tests.get((model, other, key)))]
            cell = {"model": model, "text": "", "tests": said}
            if value:
                spread = "" if value["sd"] is None else f" ± {show(value['sd'], about['percent'])}"
                cell["text"] = show(value["mean"], about["percent"]) + spread
            cells.append(cell)
        chance = found["chance"].get(key)
        made.append({
            **about, "key": key, "cells": cells, "chance": "" if chance is None else show(chance, about["percent"])
        })  # fmt: skip
    return made


def markdown(found: Mapping[str, Any]) -> str:
    """The table, the verdicts and what they do not hold."""
    models = found["models"]
    lines = [
        f"**{title(found)}**, {found['steps']} steps of {found['batch_size']} each, measured on `{found['split']}`.", "",
        f"| mean ± s.d. over seeds | {' | '.join(models)} | chance |", "|---|" + "--:|" * (len(models) + 1),
    ]  # fmt: skip
    for row in rows(found):
        arrow = "↑" if row["better"] == "higher" else "↓"
        lines.append(
            f"| {row['label']} {arrow} | {' | '.join(c['text'] for c in row['cells'])} | {row['chance']} |"
        )
    lines += ["", *(f"- {test['sentence']}" for test in found["tests"]), ""]
    lines += [*(f"- {limit}" for limit in found["limits"]), *(f"- {note}" for note in found["notes"])]
    lines += [f"- {metric} left out: {reason}" for metric, reason in found["left_out"].items()]
    return "\n".join([*lines, ""])


def drawn(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """Retrieval against retention, every headline figure by recipe, and the validations of every recipe."""
    made = []
    figures, known = found["figures"], found["described"]
    for find, kept in (("r5_t2i", "probe_accuracy"), ("r5_t2i", "photo_accuracy")):
        both = {
            model: [(x, y) for x, y in zip(each[kept]["seeds"], each[find]["seeds"], strict=True)]
            for model, each in figures.items()
            if find in each and kept in each
        }
        if both:
            svg = plots.scatter(both, x=known[kept]["label"], y=known[find]["label"])
            made.append(
                {
                    "title": "Found and kept",
                    "said": "A point a seed; up and to the right is better.",
                    "svg": svg,
                }
            )
    for key, about in known.items():
        if about["headline"] or key in SHOWN:
            values = {model: each[key]["seeds"] for model, each in figures.items() if key in each}
            said = f"A dot a seed; the bar is the mean ± s.d. {about['better'].capitalize()} is better."
            svg = plots.points(values, x=about["label"], percent=about["percent"])
            made.append({"title": about["label"], "said": said, "svg": svg})
    terms = dict.fromkeys(
        k
        for runs in found["curves"].values()
        for run in runs
        for v in run["validation"]
        for k in v
        if k != "step"
    )
    for term in terms:
        curves = {model: _mean(runs, term) for model, runs in found["curves"].items()}
        curves = {model: curve for model, curve in curves.items() if curve[0]}
        if any(len(xs) > 1 for xs, _ in curves.values()):
            svg = plots.lines(curves, x="step", y=term, marks=True)
            made.append({"title": f"Validation: {term}", "said": "Mean over the recipe's cells.", "svg": svg})
    return made


def _mean(runs: Sequence[Mapping[str, Any]], term: str) -> tuple[list[int], list[float]]:
    """Steps and the mean of a validation figure over the cells that have it."""
    values: dict[int, list[float]] = {}
    for run in runs:
        for line in run["validation"]:
            if term in line:
                values.setdefault(line["step"], []).append(line[term])
    steps = sorted(values)
    return steps, [statistics.fmean(values[step]) for step in steps]
