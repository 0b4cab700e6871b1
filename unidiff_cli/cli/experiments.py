"""`unidiff ablate`: many trainings, one table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unidiff_cli.cli import console
from unidiff_cli.cli.bars import shown
from unidiff_cli.cli.options import (
    Assignments,
    Json,
    Margin,
    announced_project,
    receipt_of,
    say_done,
)
from unidiff_cli.config.limits import MAX_SEED
from unidiff_cli.errors import UsageError

if TYPE_CHECKING:
    from unidiff_cli.config.ablation_plan import AblationPlan
    from unidiff_cli.config.schema import Recipe
    from unidiff_cli.project.project import Project

EXAMPLE = (
    "Example: unidiff ablate --recipes clip-only,sd-only,joint,fashion --seeds 0,1,2 --folds 5"
)


def ablate_command(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PLAN]",
            show_default=False,
            help="A YAML file that says all of it, written before; in place of the options below.",
        ),
    ] = None,
    variants: Annotated[
        str | None,
        typer.Option(
            "--recipes", help="Recipes or recipe files, comma-separated; the first is the baseline."
        ),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option("--seeds", help="Training seeds, comma-separated; 0,1,2 if none.")
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option("--folds", min=0, help="Folds by product; 0: the project's own splits."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Steps of every training.")
    ] = None,
    margin: Margin = None,
    assignments: Assignments = None,
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs", min=1, help="Trainings at a time, each with its share of the cores."
        ),
    ] = 1,
    keep_exports: Annotated[
        bool, typer.Option("--keep-exports", help="Keep every export, under cache/ablation/.")
    ] = False,
    json_out: Json = False,
) -> None:
    """Train and measure recipes × seeds × folds alike, into one table with paired tests."""
    project = announced_project(context)
    options = {
        "--recipes": variants,
        "--seeds": seeds,
        "--folds": folds,
        "--steps": steps,
        "--margin": margin,
        "--set": assignments,
    }
    plan = _plan(file, {name: value for name, value in options.items() if value is not None})
    if plan.folds == 1:
        raise UsageError(
            "One fold is none: folds needs 2 or more.",
            "Leave it out to use the project's own splits.",
        )
    given = [*(assignments or ()), *([f"train.steps={steps}"] if steps else [])]
    recipes = _recipes(project, plan.recipes, [*plan.assignments, *given])
    from unidiff_cli.experiments.ablation import ablate

    before = receipt_of(project, "ablation")
    with shown(context.obj.quiet) as bars:
        receipt = ablate(
            project,
            recipes,
            plan.seeds,
            plan.folds,
            margin=plan.margin,
            tests=plan.tests,
            joined=plan.joined,
            jobs=jobs,
            keep_exports=keep_exports,
            on_progress=bars,
        )
    if json_out:
        console.show_file(project.path("ablation", "table.json"))
        return
    console.show_file(project.path("ablation", "table.md"))
    page = project.path("ablation", "report.html")
    say_done(project, "ablation", before, receipt, f"open {page}")


def _plan(file: Path | None, options: dict[str, Any]) -> AblationPlan:
    """The plan of a file, or that of the options."""
    from unidiff_cli.config.ablation_plan import AblationPlan, read_plan

    if file and options:
        raise UsageError(
            f"{next(iter(options))} stands beside the plan {file}, which says all of it.",
            "Change the file, or leave it out.",
        )
    if file:
        return read_plan(file)
    recipes = [part.strip() for part in options.get("--recipes", "").split(",") if part.strip()]
    if not recipes:
        raise UsageError("ablate needs a plan, or --recipes.", EXAMPLE)
    return AblationPlan(
        recipes=tuple(recipes),
        seeds=_seeds(options.get("--seeds", "0,1,2")),
        folds=options.get("--folds", 0),
        margin=options.get("--margin"),
    )


def _recipes(
    project: Project, names: Sequence[str], assignments: Sequence[str]
) -> dict[str, Recipe]:
    """Recipes by their names, in the order given."""
    from unidiff_cli.models.sources import load_recipe

    recipes: dict[str, Recipe] = {}
    for name in names:
        recipe = load_recipe(name, project, environ=os.environ, assignments=assignments)
        if recipe.name in recipes:
            raise UsageError(
                f"Two recipes are named '{recipe.name}'.",
                "Rename one: its name stands in the table.",
            )
        recipes[recipe.name] = recipe
    return recipes


def _seeds(text: str) -> tuple[int, ...]:
    """The whole numbers of --seeds."""
    parts = text.split(",")
    if wrong := [part for part in parts if not part.strip().isdecimal()]:
        raise UsageError(
            f"--seeds cannot read '{wrong[0]}'.", "Give whole numbers between commas: 0,1,2"
        )
    if wrong := [part for part in parts if int(part) > MAX_SEED]:
        raise UsageError(f"--seeds {wrong[0]} is too large.", f"Give numbers of 0 to {MAX_SEED:,}.")
    return tuple(int(part) for part in parts)
