"""The pages of report.json: a table, report.md and report.html. Knows no model and no metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from PIL import Image

from unidiff_cli.reports import html
from unidiff_cli.reports.evaluation_plots import evaluation_plots, tradeoff_plot
from unidiff_cli.reports.markdown import escape
from unidiff_cli.reports.schema import FigureSpec, Interval, Report, Tradeoff
from unidiff_cli.reports.wording import (
    MARKS,
    SIDES,
    corrected_words,
    format_difference,
    format_value,
    margin_words,
)

# The columns of what figures are compared with, by the field of `References`.
REFERENCES = {"chance": "chance", "real": "real images", "null_level": "null level"}


# ---------------------------------------------------------------- the table


@dataclass(frozen=True)
class Cell:
    """A figure of one model as text; empty where there is none."""

    model: str
    value: str = ""
    interval: str = ""
    change: str = ""
    verdict: str = ""
    margin: str = ""
    sentence: str = ""


@dataclass(frozen=True)
class Row:
    """A figure of every model, and what it is compared with, as text."""

    key: str
    spec: FigureSpec
    cells: list[Cell]
    references: dict[str, str]
    items: int | None
    groups: int | None


def table(report: Report) -> list[Row]:
    """A row for each figure; each model is tested against the base."""
    rows = []
    for key, spec in report.specs.items():
        base = report.figures[report.base].get(key)
        references = {
            kind: format_value(values[key], spec.percent) if key in values else ""
            for kind, values in report.references
        }
        cells = [_cell(report, model, key) for model in report.models]
        items, groups = (base.items, base.groups) if base else (None, None)
        rows.append(Row(key, spec, cells, references, items, groups))
    return rows


def _cell(report: Report, model: str, key: str) -> Cell:
    figure, percent = report.figures[model].get(key), report.specs[key].percent
    if figure is None:
        return Cell(model)
    value, interval = format_value(figure.value, percent), _interval(figure, percent)
    test = report.tests_of(model, report.base).get(key)
    if test is None:
        return Cell(model, value, interval)
    change = format_difference(test.difference, percent)
    margin = ""
    if report.margin is not None and percent:
        margin = margin_words(test.not_worse, report.margin)
    return Cell(model, value, interval, change, test.verdict, margin, test.sentence)


def _interval(figure: Interval, percent: bool) -> str:
    if figure.low is None or figure.high is None:
        return ""
    return f"{format_value(figure.low, percent)} … {format_value(figure.high, percent)}"


# ---------------------------------------------------------------- report.md


def markdown(report: Report) -> str:
    """A short table for a pull request."""
    models = [escape(model) for model in report.models]
    # With several models each one's outcome stands beside its figure.
    several = len(models) > 2
    columns = list(models)
    if not several:
        columns += [f"{models[-1]} − {models[0]}", "outcome"]
    columns += REFERENCES.values()
    lines = [f"**{escape(report.title)}**, split `{report.split}`.", ""]
    lines += [f"{escape(sentence)}\n" for sentence in report.verdict.split("\n")]
    lines += [f"⚠ {escape(warning)}\n" for warning in report.warnings]
    lines += [f"| | {' | '.join(columns)} |", "|---|" + "--:|" * len(columns)]
    for row in table(report):
        values = [_marked(cell) if several else cell.value for cell in row.cells]
        if not several:
            cell = row.cells[-1]
            values += [cell.change, "; ".join(filter(None, (cell.verdict, cell.margin)))]
        values += [row.references[kind] for kind in REFERENCES]
        lines.append(f"| {escape(row.spec.label)} | {' | '.join(values)} |")
    if several:
        marks = ", ".join(f"{mark} {word}" for word, mark in MARKS.items())
        lines += ["", f"{marks}: each against {models[0]}, by the paired test."]
    lines += ["", words] if (words := corrected_words(report.tests)) else []
    lines += [f"\n{escape(line)}" for line in margin_lines(report)] if several else []
    lines += _tradeoff_lines(report.tradeoff) if report.tradeoff else []
    notes = [note for notes in report.notes.values() for note in notes]
    if report.generation:
        notes += [f"Guidance of {m}: {words}." for m, words in report.generation.guidance.items()]
    lines += ["", *(f"- {escape(note)}" for note in notes), ""]
    return "\n".join(lines)


def margin_lines(report: Report) -> list[str]:
    """For each model and its base, which shares are not worse by more than the margin."""
    if report.margin is None:
        return []
    lines = []
    for model in list(report.models)[1:]:
        outcomes: dict[bool | None, list[str]] = {}
        for key, test in report.tests_of(model, report.base).items():
            if report.specs[key].percent:
                outcomes.setdefault(test.not_worse, []).append(report.specs[key].label)
        lines += [
            f"{model} against {report.base}, {margin_words(outcome, report.margin)}: "
            f"{', '.join(outcomes[outcome])}."
            for outcome in (True, False, None)
            if outcome in outcomes
        ]
    return lines


def tradeoff_table(tradeoff: Tradeoff) -> list[list[str]]:
    """A row for each model: its name, y as a share, and each series' x."""
    return [
        [model, format_value(y, True), *(f"{x[n]:.2f}" for x in tradeoff.x.values())]
        for n, (model, y) in enumerate(zip(tradeoff.models, tradeoff.y, strict=True))
    ]


def _tradeoff_lines(tradeoff: Tradeoff) -> list[str]:
    names = [f"ρ of {series}" for series in tradeoff.x]
    return [
        "",
        f"| | {' | '.join([tradeoff.y_label, *names])} |",
        "|---|" + "--:|" * (1 + len(names)),
        *(f"| {' | '.join(map(escape, row))} |" for row in tradeoff_table(tradeoff)),
    ]


def _marked(cell: Cell) -> str:
    mark = {str(word): mark for word, mark in MARKS.items()}.get(cell.verdict, "")
    return f"{cell.value} {mark}".strip()


# ---------------------------------------------------------------- report.html


@dataclass(frozen=True)
class QueryExample:
    """A caption, and the first images that each model retrieves for it, with right or wrong."""

    caption: str
    answers: dict[str, list[tuple[Image.Image, bool]]]


@dataclass(frozen=True)
class GeneratedExample:
    """A prompt, the real image that it is the caption of, and what each model generates."""

    prompt: str
    real: Image.Image
    generated: dict[str, Image.Image]


@dataclass(frozen=True)
class CopyExample:
    """An image that a model generated, and the training image nearest to it."""

    model: str
    prompt: str
    cosine: float
    generated: Image.Image
    training: Image.Image
    extractor: str = ""


@dataclass(frozen=True)
class Examples:
    """The images of a page."""

    queries: Sequence[QueryExample] = field(default_factory=list)
    generated: Sequence[GeneratedExample] = field(default_factory=list)
    near_copies: Sequence[CopyExample] = field(default_factory=list)


def page(report: Report, examples: Examples) -> str:
    """The page, one file that loads nothing."""
    rows = table(report)
    return html.render(
        "evaluation.html.j2",
        report=report,
        sides=[
            (name, side_rows)
            for side, name in SIDES.items()
            if (side_rows := [row for row in rows if row.spec.judges == side])
        ],
        references=REFERENCES,
        corrected=corrected_words(report.tests),
        tradeoff=tradeoff_table(report.tradeoff) if report.tradeoff else [],
        tradeoff_plot=tradeoff_plot(report.tradeoff) if report.tradeoff else None,
        examples=examples,
        thumbnail=html.thumbnail,
        plots=evaluation_plots(report),
    )
