"""Options that several commands share, and what they mean for a call."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from unidiff_cli.cli import console
from unidiff_cli.errors import UsageError
from unidiff_cli.project.project import Project

MAX_SEED = 2**62  # torch takes 64 bits, and image i has seed + i
SHEET_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass
class Invocation:
    """The options before the command: `context.obj` of every command."""

    project: str | None = None
    quiet: bool = False
    debug: bool = False


def recipe_names(incomplete: str) -> list[str]:
    from unidiff_cli.config.shipped import shipped_recipes

    return [name for name in shipped_recipes() if name.startswith(incomplete)]


def finite(value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no number to draw with.")
    return value


def sheet_file(path: Path | None) -> Path | None:
    if path and path.suffix.lower() not in SHEET_SUFFIXES:
        raise typer.BadParameter(f"{path} does not end in one of {' '.join(SHEET_SUFFIXES)}.")
    if path and not path.absolute().parent.is_dir():
        raise typer.BadParameter(f"there is no folder {path.absolute().parent}.")
    return path


def export_names(context: typer.Context, incomplete: str) -> list[str]:
    return [name for name in open_project(context).exports() if name.startswith(incomplete)]


def run_names(context: typer.Context, incomplete: str) -> list[str]:
    return [name for name in open_project(context).runs() if name.startswith(incomplete)]


RecipeName = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help="A shipped recipe or a path; prepare and train keep it in unidiff.yaml.",
        autocompletion=recipe_names,
    ),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override one recipe key, this run only; repeatable."
    ),
]
ExportName = Annotated[
    str | None,
    typer.Option(
        "--export",
        help="An export by name; the current one by default.",
        autocompletion=export_names,
    ),
]
Inception = Annotated[
    Path | None,
    typer.Option(
        "--inception",
        help="inception-2015-12-05.pt: FID, KID and precision and recall as elsewhere.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Do it again although nothing changed.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the resolved recipe and the plan; write nothing.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def open_project(context: typer.Context) -> Project:
    """The project that the command works on. Before the callback ran (completion), `obj` is None."""
    named = context.obj.project if context.obj else None
    return Project.find(named or os.environ.get("UNIDIFF_PROJECT"))


def resolved_recipe(
    project: Project, name: str | None, assignments: list[str] | None, base: bool = True
) -> Any:
    """The recipe in force, checked whole; a name given here replaces the one in unidiff.yaml."""
    from unidiff_cli.config.load import read_recipe
    from unidiff_cli.models.sources import load_recipe

    layers: Any = {"environ": os.environ, "assignments": assignments or ()}
    recipe = (
        load_recipe(name, project, **layers)
        if base
        else read_recipe(name, project_file=project.file, **layers)
    )
    console.note(f"recipe {recipe.name}")
    return recipe


def resumed_recipe(project: Project, run: str | None) -> Any:
    """The recipe that the run to continue began with; None where there is none, which the stage then says."""
    from unidiff_cli.config.load import read_recipe

    name = run or next(reversed(project.runs()), "")
    file = project.path("runs", name, "recipe.yaml")
    return read_recipe(file) if name and file.is_file() else None


def numbers(text: str) -> list[float]:
    """Numbers between commas."""
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise UsageError(
            f"--alphas cannot read '{text}'.", "Give numbers between commas: 0,0.25,0.5,0.75,1"
        ) from None


def share(text: str) -> str:
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise UsageError(f"--max-bad {text!r} is no share.", "Write 5% or 0.05.") from None
    return f"{value:g}"


def remember(project: Project, recipe: str | None) -> None:
    if recipe:
        from unidiff_cli.config.shipped import remember_recipe

        project.create()
        remember_recipe(project.file, recipe)


def receipt_of(project: Project, *room: str) -> Any:
    from unidiff_cli.project.receipt import Receipt

    return Receipt.read(project.path(*room))


def say_done(project: Project, room: str, before: Any, receipt: Any, then: str) -> None:
    """Says what was made, or that it was there already, and what comes next."""
    if before and before.finished == receipt.finished:
        console.note(f"Nothing to do: {room} is up to date. --force does it again.")
    counts = ", ".join(f"{v:,} {k}" for k, v in receipt.counts.items() if isinstance(v, int) and v)
    console.say(f"{project.path(room)}: {counts or 'done'}")
    console.note(f"Next: {then}")
