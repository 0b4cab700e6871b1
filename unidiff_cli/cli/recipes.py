"""`unidiff recipes`: list, show, copy and check recipes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unidiff_cli.cli import console
from unidiff_cli.cli.options import (
    Assignments,
    Json,
    open_project,
    receipt_of,
    recipe_names,
)

if TYPE_CHECKING:
    from unidiff_cli.config.schema import Recipe
    from unidiff_cli.project.project import Project

app = typer.Typer(help="List, show, copy and check recipes.", no_args_is_help=True)


@app.command("list")
def list_command(json_out: Json = False) -> None:
    """The shipped recipes."""
    from unidiff_cli.config.shipped import shipped_recipes
    from unidiff_cli.config.sources import read_yaml

    rows = [
        [name, read_yaml(path).data.get("description", "")]
        for name, path in shipped_recipes().items()
    ]
    if json_out:
        console.show_json([{"name": name, "description": text} for name, text in rows])
    else:
        console.show_table(["recipe", "what it trains"], rows)


@app.command("show")
def show_command(
    context: typer.Context,
    name: Annotated[str, typer.Argument(autocompletion=recipe_names)],
    resolved: Annotated[
        bool, typer.Option("--resolved", help="With every default, and the base's own numbers.")
    ] = False,
    assignments: Assignments = None,
) -> None:
    """Print a recipe."""
    from unidiff_cli.config.shipped import locate_recipe
    from unidiff_cli.models.sources import load_recipe

    if resolved:
        recipe = load_recipe(name, assignments=assignments or ())
        console.say(*recipe.yaml().splitlines())
        if recipe.train.steps == "auto":
            console.note(*_sizes(open_project(context), recipe))
    else:
        console.show_file(locate_recipe(name))


def _sizes(project: Project, recipe: Recipe) -> list[str]:
    """What `steps: auto` is for the catalogue of a project."""
    from unidiff_cli.training.sizing import sized

    if receipt := receipt_of(project, "shards"):
        return sized(recipe, int(receipt.counts["train"]))[1]
    return ["steps auto: a number by the training images, once a catalogue is prepared."]


@app.command("copy")
def copy_command(
    name: Annotated[str, typer.Argument(autocompletion=recipe_names)],
    to: Annotated[
        Path | None, typer.Argument(help="A file or folder; ./NAME.yaml by default.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Copy a shipped recipe to change it."""
    from unidiff_cli.config.shipped import copy_recipe

    console.say(str(copy_recipe(name, to, force)))


@app.command("validate")
def validate_command(
    name: Annotated[str, typer.Argument(autocompletion=recipe_names)],
    assignments: Assignments = None,
) -> None:
    """Check a recipe: every problem at once, with file and line."""
    from unidiff_cli.models.sources import load_recipe

    recipe = load_recipe(name, environ=os.environ, assignments=assignments or ())
    console.say(f"{recipe.name}: valid. Objectives: {', '.join(recipe.active())}.")


@app.command("schema")
def schema_command() -> None:
    """Print the JSON schema of recipes, for editors."""
    from unidiff_cli.config.schema import recipe_schema

    console.show_json(recipe_schema())
