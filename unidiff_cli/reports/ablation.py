"""The room `ablation/`: figures of a grid as mean ± s.d. over seeds, paired tests, plots and a page. Trains nothing."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unidiff_cli.project.files import write_json
from unidiff_cli.reports import html, plots
from unidiff_cli.reports.evaluation import format_value

SHOWN = (
    "uniformity_image",
    "effective_rank_image",
    "text_drift",
    "denoiser_drift",
    "seconds",
)  # beside headlines


# ---------------------------------------------------------------- the files


def write_tables(room: Path, found: Mapping[str, Any]) -> None:
    """table.json, table.md and report.html."""
    write_json(room / "table.json", found)
    (room / "table.md").write_text(markdown(found), encoding="utf-8")
    page = html.render(
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
                spread = (
                    ""
                    if value["sd"] is None
                    else f" ± {format_value(value['sd'], about['percent'])}"
                )
                cell["text"] = format_value(value["mean"], about["percent"]) + spread
            cells.append(cell)
        chance = found["chance"].get(key)
        made.append({
            **about, "key": key, "cells": cells, "chance": "" if chance is None else format_value(chance, about["percent"])
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
    lines += [
        *(f"- {limit}" for limit in found["limits"]),
        *(f"- {note}" for note in found["notes"]),
    ]
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
            made.append(
                {
                    "title": f"Validation: {term}",
                    "said": "Mean over the recipe's cells.",
                    "svg": svg,
                }
            )
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
