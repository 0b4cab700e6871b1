"""Options that several commands share, and what they mean for a call."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from unidiff_cli.cli import console
from unidiff_cli.errors import UsageError
from unidiff_cli.project.project import Project

if TYPE_CHECKING:
    from unidiff_cli.config.schema import Recipe
    from unidiff_cli.data.executors import Engine
    from unidiff_cli.project.receipt import Receipt

SHEET_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass
class Invocation:
    """The options that stand before the command; `context.obj` of every command."""

    project: str | None = None
    quiet: bool = False
    debug: bool = False


def recipe_names(incomplete: str) -> list[str]:
    from unidiff_cli.config.shipped import shipped_recipes

    return [name for name in shipped_recipes() if name.startswith(incomplete)]


def format_names(incomplete: str) -> list[str]:
    from unidiff_cli import registry

    return [name for name in registry.names("exporters") if name.startswith(incomplete)]


def finite(value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number.")
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
        help="A shipped recipe or a path; prepare and train write it into unidiff.yaml.",
        autocompletion=recipe_names,
    ),
]
BaseName = Annotated[
    str | None,
    typer.Option(
        "--base", help="What to adapt: nano, auto or a folder; train writes it into unidiff.yaml."
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
        help="inception-2015-12-05.pt, for FID and KID comparable with published numbers.",
    ),
]
Margin = Annotated[
    float | None,
    typer.Option(
        "--margin",
        min=0,
        callback=finite,
        help="Points: also say of each share whether it is not worse by more than this.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Run again although nothing changed.")]
EngineName = Annotated[
    str, typer.Option("--engine", help="What does the work: local (this machine), or ray.")
]
ClusterAddress = Annotated[
    str, typer.Option("--address", help="Of --engine ray: a cluster, as host:6379 or auto.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the resolved recipe and the plan; write nothing.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def open_project(context: typer.Context) -> Project:
    """The project that the command works on. In a completion no callback ran: `obj` is None."""
    named = context.obj.project if context.obj else None
    return Project.find(named or os.environ.get("UNIDIFF_PROJECT", "").strip())


def announced_project(context: typer.Context, catalogue: Path | None = None) -> Project:
    """`open_project` for a command that obeys unidiff.yaml: first it says what that file sets."""
    from unidiff_cli.cli.announce import announce

    project = open_project(context)
    announce(project, catalogue)
    return project


def resolved_recipe(
    project: Project, name: str | None, assignments: list[str] | None, base: bool = True
) -> Recipe:
    """The recipe in force, checked whole; a name given here replaces the one in unidiff.yaml."""
    from unidiff_cli.config.load import read_recipe
    from unidiff_cli.models.sources import load_recipe

    sources: Any = {"environ": os.environ, "assignments": assignments or ()}
    if base:
        recipe = load_recipe(name, project, **sources)
    else:
        recipe = read_recipe(name, project_file=project.file, **sources)
    console.note(f"recipe {recipe.name}")
    return recipe


def resumed_recipe(project: Project, run: str | None) -> Recipe | None:
    """The recipe of the run to continue; None where there is no such run, which `train` refuses."""
    from unidiff_cli.config.run_recipe import FILE, read_run_recipe

    name = run or next(reversed(project.runs()), "")
    folder = project.path("runs", name)
    return read_run_recipe(folder) if name and (folder / FILE).is_file() else None


def engine_of(name: str, address: str) -> Engine:
    """The engine of a name. Raises UsageError, also for an address that is not its own."""
    from unidiff_cli.data.executors import Engine

    if name not in get_args(Engine):
        known = " and ".join(get_args(Engine))
        raise UsageError(f"There is no engine '{name}'.", f"The engines are {known}.")
    if address and name != "ray":
        raise UsageError("--address is that of a Ray cluster.", "Add --engine ray.")
    return cast("Engine", name)


def numbers(text: str) -> list[float]:
    """Numbers between commas."""
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise UsageError(
            f"--alphas cannot read '{text}'.", "Give numbers between commas: 0,0.25,0.5,0.75,1"
        ) from None


def share(text: str) -> str:
    """The value of --max-bad as a recipe has it: 5% is 0.05."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise UsageError(f"--max-bad {text!r} is no share.", "Write 5% or 0.05.") from None
    return f"{value:g}"


class Remembered:
    """The names given with --recipe and --base, for unidiff.yaml. A call writes them, once.

    Whoever makes one calls it when the stage has begun: a refused command changes no file. Raises
    UsageError for a file that cannot take a name.
    """

    def __init__(self, project: Project, recipe: str | None, base: str | None = None) -> None:
        self.project = project
        self.names = {k: name for k, name in (("recipe", recipe), ("base", base)) if name}
        if self.names and project.file.is_file():
            from unidiff_cli.config.shipped import with_value

            for key, name in self.names.items():
                with_value(project.file, key, name)

    def __call__(self) -> None:
        if self.names:
            from unidiff_cli.config.shipped import remember

            self.project.create()
            for key, name in self.names.items():
                remember(self.project.file, key, name)
        self.names = {}


def receipt_of(project: Project, *folder: str) -> Receipt | None:
    """The receipt of a folder of the project, if it is finished."""
    from unidiff_cli.project.receipt import Receipt

    return Receipt.read(project.path(*folder))


def receipts_below(project: Project, folder: str) -> dict[str, Receipt | None]:
    """The receipts of all finished folders below a folder of the project, by their path in it."""
    from unidiff_cli.project.receipt import RECEIPT

    parent = project.path(folder)
    names = [str(file.parent.relative_to(parent)) for file in parent.rglob(RECEIPT)]
    return {name: receipt_of(project, folder, name) for name in names}


def say_done(
    project: Project, folder: str, before: Receipt | None, receipt: Receipt, then: str = ""
) -> None:
    """Prints what a folder holds, whether it was up to date already, and what comes next."""
    if before and before.finished == receipt.finished:
        console.note(f"Nothing to do: {folder} is up to date. --force does it again.")
    counts = ", ".join(f"{v:,} {k}" for k, v in receipt.counts.items() if isinstance(v, int) and v)
    console.say(f"{project.path(folder)}: {counts or 'done'}")
    if then:
        console.note(f"Next: {then}")
