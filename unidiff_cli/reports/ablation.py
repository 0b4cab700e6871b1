"""The files of ablation/: table.json, table.md and report.html, from an AblationReport."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from unidiff_cli.project.files import write_json
from unidiff_cli.reports import html, plots
from unidiff_cli.reports.ablation_schema import AblationReport, SeedFigure, ValidationCurve
from unidiff_cli.reports.markdown import escape
from unidiff_cli.reports.plots import Plot
from unidiff_cli.reports.schema import FigureSpec, FigureTest
from unidiff_cli.reports.wording import corrected_words, format_value, margin_words


def write_tables(folder: Path, report: AblationReport) -> None:
    """Writes table.json, table.md and report.html."""
    write_json(folder / "table.json", report.model_dump(mode="json"))
    (folder / "table.md").write_text(markdown(report), encoding="utf-8")
    page = html.render(
        "ablation.html.j2",
        report=report,
        title=title(report),
        rows=table(report),
        corrected=corrected_words(report.tests),
        margin_words=margin_words,
        plots=ablation_plots(report),
    )
    (folder / "report.html").write_text(page, encoding="utf-8")


def title(report: AblationReport) -> str:
    """The recipes, and how many seeds and folds."""
    counts = report.counts
    folds = f", {counts.folds} folds" if counts.folds else ""
    return f"{', '.join(report.models[1:])}: {counts.seeds} seeds{folds}"


# ---------------------------------------------------------------- the table


@dataclass(frozen=True)
class Cell:
    """A figure of one model, mean ± s.d. as text, and its paired tests."""

    model: str
    text: str
    tests: list[FigureTest]


@dataclass(frozen=True)
class Row:
    """A figure of every model, and the level of chance as text."""

    key: str
    spec: FigureSpec
    cells: list[Cell]
    chance: str


def table(report: AblationReport) -> list[Row]:
    """A row for each figure."""
    rows = []
    for key, spec in report.specs.items():
        cells = []
        for model in report.models:
            figure = report.figures[model].get(key)
            text = _mean_and_sd(figure, spec.percent) if figure else ""
            tests = [t for t in report.tests if (t.model, t.figure) == (model, key)]
            cells.append(Cell(model, text, tests))
        chance = report.chance.get(key)
        level = "" if chance is None else format_value(chance, spec.percent)
        rows.append(Row(key, spec, cells, level))
    return rows


def _mean_and_sd(figure: SeedFigure, percent: bool) -> str:
    spread = "" if figure.sd is None else f" ± {format_value(figure.sd, percent)}"
    return format_value(figure.mean, percent) + spread


def markdown(report: AblationReport) -> str:
    """The table, the tests in words, and what they do not cover."""
    columns = [*map(escape, report.models), "chance"]
    lines = [
        f"**{escape(title(report))}**, {report.steps} steps of {report.batch_size} each, "
        f"measured on `{report.split}`.",
        "",
        f"| mean ± s.d. over seeds | {' | '.join(columns)} |",
        "|---|" + "--:|" * len(columns),
    ]
    for row in table(report):
        arrow = {"higher": " ↑", "lower": " ↓"}.get(str(row.spec.better), "")
        values = [*(cell.text for cell in row.cells), row.chance]
        lines.append(f"| {escape(row.spec.label)}{arrow} | {' | '.join(values)} |")
    tests = [f"{test.model} against {test.against}: {test.sentence}" for test in report.tests]
    left_out = [f"{metric} left out: {reason}" for metric, reason in report.left_out.items()]
    lines += ["", *(f"- {escape(test)}" for test in tests), ""]
    lines += [words, ""] if (words := corrected_words(report.tests)) else []
    lines += [f"- {escape(sentence)}" for sentence in (*report.limits, *report.notes, *left_out)]
    return "\n".join([*lines, ""])


# ---------------------------------------------------------------- the plots


def ablation_plots(report: AblationReport) -> list[Plot]:
    """Retrieval against general knowledge, the main figures by recipe, and the validations."""
    return [*_tradeoffs(report), *_figures(report), *_validations(report)]


def _tradeoffs(report: AblationReport) -> Iterator[Plot]:
    for x, y in report.tradeoffs:
        points = {
            model: list(zip(each[x].seeds, each[y].seeds, strict=True))
            for model, each in report.figures.items()
            if x in each and y in each
        }
        if not points:
            continue
        across, up = report.specs[x], report.specs[y]
        svg = plots.scatter(
            points,
            x=across.label,
            y=up.label,
            percent=(across.percent, up.percent),
            joined=report.joined,
        )
        places = {"higher": ("right", "up"), "lower": ("left", "down")}
        better = f"{places[str(up.better)][1]} and to the {places[str(across.better)][0]}"
        caption = f"A point for each seed; {better} is better."
        if report.joined:
            caption += " Lines join the means of models that differ in one thing."
        yield Plot(f"{up.label} and {across.label}", caption, svg)


def _figures(report: AblationReport) -> Iterator[Plot]:
    for key, spec in report.specs.items():
        if spec.headline or key in report.plotted:
            values = {m: each[key].seeds for m, each in report.figures.items() if key in each}
            better = f" {spec.better.capitalize()} is better." if spec.better else ""
            caption = f"A dot for each seed; the bar is the mean ± s.d.{better}"
            svg = plots.points(values, x=spec.label, percent=spec.percent)
            yield Plot(spec.label, caption, svg)


def _validations(report: AblationReport) -> Iterator[Plot]:
    terms = dict.fromkeys(
        term
        for curves in report.curves.values()
        for curve in curves
        for validation in curve.validations
        for term in validation.figures
    )
    for term in terms:
        means = {model: _mean_curve(curves, term) for model, curves in report.curves.items()}
        means = {model: (steps, values) for model, (steps, values) in means.items() if steps}
        if any(len(steps) > 1 for steps, _ in means.values()):
            svg = plots.lines(means, x="step", y=term, marks=True)
            yield Plot(f"Validation: {term}", "Mean over the recipe's cells.", svg)


def _mean_curve(curves: Sequence[ValidationCurve], term: str) -> tuple[list[int], list[float]]:
    """Steps, and the mean of a validation figure over the cells that have it."""
    values: dict[int, list[float]] = {}
    for curve in curves:
        for validation in curve.validations:
            if term in validation.figures:
                values.setdefault(validation.step, []).append(validation.figures[term])
    steps = sorted(values)
    return steps, [statistics.fmean(values[step]) for step in steps]
