"""The recipe of a run, `recipe.yaml` in its folder: written once, before the first step.

The run keeps a digest of it beside its own, so that no other recipe is taken for it later.
"""

from __future__ import annotations

from pathlib import Path

from unidiff_cli.config.load import read_recipe
from unidiff_cli.config.schema import Recipe
from unidiff_cli.errors import Damaged, RecipeError
from unidiff_cli.project.files import digest, write_text

FILE = "recipe.yaml"


def recipe_digest(recipe: Recipe) -> str:
    """A hash of the file that `write_run_recipe` makes."""
    return digest(recipe.yaml())


def write_run_recipe(run: Path, recipe: Recipe) -> None:
    """Writes the recipe into a run's folder."""
    write_text(run / FILE, recipe.yaml())


def read_run_recipe(run: Path, written: str | None = None) -> Recipe:
    """The recipe of a run's folder. Raises Damaged where it is not the one that was written.

    `written` is the digest that the run kept of it.
    """
    try:
        text = (run / FILE).read_bytes().decode("utf-8")
        if written is None or digest(text) == written:
            # Nobody may edit it, so a run of an older unidiff keeps its names.
            return read_recipe(run / FILE, old_names=True)
        reason = "it is not what the run began with"
    except (OSError, UnicodeDecodeError) as problem:
        reason = f"it cannot be read ({problem})"
    except RecipeError as problem:
        reason = problem.problems[0]
    raise Damaged(
        f"{FILE} of run {run.name} is damaged: {reason.rstrip('.')}.",
        "Put the file back as it was, or begin another run: unidiff train",
    )
