"""`unidiff ablate`: many trainings, one table."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

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
    from unidiff_cli.config.schema import Recipe
    from unidiff_cli.project.project import Project

EXAMPLE = (
    "Example: unidiff ablate --recipes clip-only,sd-only,joint,fashion --seeds 0,1,2 --folds 5"
)


def ablate_command(
    context: typer.Context,
    variants: Annotated[
        str,
        typer.Option(
            "--recipes", help="Recipes or recipe files, comma-separated; the first is the baseline."
        ),
    ],
    seeds: Annotated[
        str, typer.Option("--seeds", help="Training seeds, comma-separated.")
    ] = "0,1,2",
    folds: Annotated[
        int,
        typer.Option("--folds", min=0, help="Folds by product; 0: the project's own splits."),
    ] = 0,
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
    given = [*(assignments or ()), *([f"train.steps={steps}"] if steps else [])]
    recipes = _recipes(project, variants, given)
    training_seeds = _seeds(seeds)
    if folds == 1:
        raise UsageError(
            "--folds needs 2 or more.", "Leave it out to use the project's own splits."
        )
    from unidiff_cli.experiments.ablation import ablate

    before = receipt_of(project, "ablation")
    with shown(context.obj.quiet) as bars:
        receipt = ablate(
            project,
            recipes,
            training_seeds,
            folds,
            margin=margin,
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


def _recipes(project: Project, names: str, assignments: list[str]) -> dict[str, Recipe]:
    """The recipes of --recipes by their names, in the order given."""
    from unidiff_cli.models.sources import load_recipe

    recipes: dict[str, Recipe] = {}
    for name in filter(None, (part.strip() for part in names.split(","))):
        recipe = load_recipe(name, project, environ=os.environ, assignments=assignments)
        if recipe.name in recipes:
            raise UsageError(
                f"Two recipes are named '{recipe.name}'.",
                "Rename one: its name stands in the table.",
            )
        recipes[recipe.name] = recipe
    return recipes


def _seeds(text: str) -> list[int]:
    """The whole numbers of --seeds."""
    parts = text.split(",")
    if wrong := [part for part in parts if not part.strip().isdecimal()]:
        raise UsageError(
            f"--seeds cannot read '{wrong[0]}'.", "Give whole numbers between commas: 0,1,2"
        )
    if wrong := [part for part in parts if int(part) > MAX_SEED]:
        raise UsageError(f"--seeds {wrong[0]} is too large.", f"Give numbers of 0 to {MAX_SEED:,}.")
    return [int(part) for part in parts]
