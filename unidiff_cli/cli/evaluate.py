"""`unidiff evaluate` and `unidiff compare`: figures, a report, and gates for automation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unidiff_cli.cli import console
from unidiff_cli.cli.bars import shown
from unidiff_cli.cli.options import (
    Assignments,
    DryRun,
    ExportName,
    Force,
    Inception,
    Json,
    Margin,
    RecipeName,
    announced_project,
    export_names,
    numbers,
    receipt_of,
    resolved_recipe,
    say_done,
)
from unidiff_cli.errors import UsageError

if TYPE_CHECKING:
    from unidiff_cli.evaluation.gates import Gate
    from unidiff_cli.project.project import Project
    from unidiff_cli.project.receipt import Receipt

EXAMPLE = 'Example: unidiff evaluate --alphas 0.25,0.5,0.75 --gate "r1_t2i>=0.6"'
COMPARE_EXAMPLE = "Example: unidiff compare 001-fashion 002-joint"


def evaluate_command(
    context: typer.Context,
    recipe: RecipeName = None,
    assignments: Assignments = None,
    export: ExportName = None,
    alphas: Annotated[
        str,
        typer.Option("--alphas", help="Also measure blends of both models' CLIP: 0.25,0.5,0.75"),
    ] = "",
    folds: Annotated[
        int,
        typer.Option(
            "--folds",
            min=0,
            help="Cross-validation: train and test on this many folds of products.",
        ),
    ] = 0,
    gate: Annotated[
        str,
        typer.Option(
            "--gate",
            help="Exit with 1 unless the figures of the tuned model, or of diffdis, meet these "
            "bounds: r1_t2i>=0.6,diffdis.r1_t2i>=0.3; with --margin map_t2i>=base.",
        ),
    ] = "",
    margin: Margin = None,
    inception: Inception = None,
    force: Force = False,
    dry_run: DryRun = False,
    json_out: Json = False,
) -> None:
    """Measure base against tuned on the held-out split and write the report."""
    project = announced_project(context)
    settings = resolved_recipe(project, recipe, _with_inception(assignments, inception))
    bounds = _gates(settings, gate, margin)
    blends = numbers(alphas)
    needs = [bound.figure for bound in bounds]
    options: dict[str, Any] = {"needs": needs, "margin": margin, "force": force}
    if dry_run:
        console.say(*settings.yaml().splitlines())
        return
    if folds and (folds == 1 or export or blends):
        raise UsageError(
            "--folds needs 2 or more and trains its own models.",
            "Leave --export and --alphas out.",
        )
    folder = "folds" if folds else "report"
    before = receipt_of(project, folder)
    with shown(context.obj.quiet) as bars:
        options["on_progress"] = bars
        if folds:
            from unidiff_cli.experiments.cross_validation import evaluate_folds

            receipt = evaluate_folds(project, settings, folds, **options)
        else:
            from unidiff_cli.evaluation.evaluate import evaluate
            from unidiff_cli.exporters.model_card import refresh_model_card

            receipt = evaluate(project, settings, export=export, alphas=blends, **options)
            refresh_model_card(project, receipt.settings["export"])
    _show_figures(project, folder, before, receipt, json_out)
    _check_gates(bounds, project, folder)


def compare_command(
    context: typer.Context,
    names: Annotated[
        list[str], typer.Argument(help="Two exports or more.", autocompletion=export_names)
    ],
    recipe: RecipeName = None,
    assignments: Assignments = None,
    margin: Margin = None,
    inception: Inception = None,
    force: Force = False,
    json_out: Json = False,
) -> None:
    """Measure several exports and their base side by side, in one report."""
    from unidiff_cli.evaluation.evaluate import compare

    project = announced_project(context)
    settings = resolved_recipe(project, recipe, _with_inception(assignments, inception))
    before = receipt_of(project, "comparison")
    with shown(context.obj.quiet) as bars:
        receipt = compare(project, settings, names, margin=margin, force=force, on_progress=bars)
    _show_figures(project, "comparison", before, receipt, json_out)


def _with_inception(assignments: list[str] | None, inception: Path | None) -> list[str]:
    """The assignments with --inception, which is another way to set the recipe's key."""
    if inception is None:
        return assignments or []
    return [*(assignments or ()), f"evaluate.inception={json.dumps(str(inception.absolute()))}"]


def _show_figures(
    project: Project, folder: str, before: Receipt | None, receipt: Receipt, json_out: bool
) -> None:
    """Prints the figures as a table, and where the page is."""
    if json_out:
        console.show_file(project.path(folder, "report.json"))
        return
    models: dict[str, dict[str, float]] = receipt.figures
    keys = dict.fromkeys(key for figures in models.values() for key in figures)
    rows = [
        [key, *(f"{figures[key]:.3f}" if key in figures else "" for figures in models.values())]
        for key in keys
    ]
    console.show_table(["figure", *models], rows)
    page = project.path(folder, "report.html")
    say_done(project, folder, before, receipt, f"open {page}")


def _gates(settings: Any, text: str, margin: float | None) -> list[Gate]:
    """The bounds of --gate, checked before anything is generated."""
    if not text:
        return []
    from unidiff_cli import registry
    from unidiff_cli.evaluation.gates import parse_gates

    metrics: list[Any] = [
        registry.load("metrics", name)
        for name in settings.evaluate.metrics or registry.names("metrics")
    ]
    specs = [metric.specs(settings.evaluate).items() for metric in metrics]
    return parse_gates(text, {key: spec for each in specs for key, spec in each}, margin)


def _check_gates(bounds: list[Gate], project: Project, folder: str) -> None:
    """Prints that a report meets the bounds. Raises WorkError where it does not meet one."""
    if not bounds:
        return
    from unidiff_cli.evaluation.gates import check_gates
    from unidiff_cli.reports.schema import Report

    text = project.path(folder, "report.json").read_text(encoding="utf-8")
    check_gates(bounds, Report.model_validate_json(text), project.path(folder, "report.html"))
    console.say(f"The gate is met: {', '.join(map(str, bounds))}.")
