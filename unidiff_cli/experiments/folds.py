"""Folds of a catalogue: a project for each, what models are measured on there, and its runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from unidiff_cli.config.run_recipe import read_run_recipe
from unidiff_cli.config.schema import Recipe
from unidiff_cli.data import shards
from unidiff_cli.data.row import Row
from unidiff_cli.data.rows import column_of
from unidiff_cli.data.shards import Shards
from unidiff_cli.data.splits import folds
from unidiff_cli.errors import Damaged, NotReady, WorkError
from unidiff_cli.evaluation.eval_set import EvalSet
from unidiff_cli.models.token_windows import token_window
from unidiff_cli.progress import Progress
from unidiff_cli.project.files import digest
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt
from unidiff_cli.training.sizing import sized
from unidiff_cli.training.train import train

logger = logging.getLogger("unidiff")

# The sections of a recipe that decide a run.
TRAINING_SECTIONS = ("base", "image_size", "objectives", "train")
# The share of the groups that are not tested, to pick the weights by.
VALIDATION_SHARE = 0.1


def fold_projects(project: Project, recipe: Recipe, count: int) -> list[Project]:
    """The project of each of `count` folds by group, whose test split is the fold.

    They lie in the project's cache. Raises WorkError for too few groups.
    """
    whole = Shards.of(project)
    rows = whole.rows()
    try:
        numbers = folds(list(column_of(rows, "group")), count, recipe.evaluate.seed)
    except ValueError as problem:
        raise WorkError(
            f"The catalogue cannot be tested in {count} folds: {problem}.", "Ask for fewer."
        ) from None
    fold_of = {name: int(n) for name, n in zip(column_of(rows, "id"), numbers, strict=True)}
    projects = []
    for fold in range(count):
        key = digest([whole.receipt.hash, count, recipe.evaluate.seed, fold])
        inner = Project(project.folder("cache") / "folds" / key)
        if not Receipt.read(inner.path("shards")):
            inner.create()
            splits = _splits(rows, fold_of, fold, recipe.evaluate.seed)
            _write_shards(whole, inner, splits, [fold, count], recipe.evaluate.seed)
        projects.append(inner)
    return projects


def _splits(
    rows: Sequence[Row], fold_of: Mapping[str, int], fold: int, seed: int
) -> dict[str, str]:
    """The split of each row: the fold is tested, and some groups of the others validate."""
    others = sorted({row.group for row in rows if fold_of[row.id] != fold})
    order = np.random.default_rng([seed, fold]).permutation(len(others))
    validation = {others[n] for n in order[: max(1, round(VALIDATION_SHARE * len(others)))]}
    return {
        row.id: "test" if fold_of[row.id] == fold else "val" if row.group in validation else "train"
        for row in rows
    }


def _write_shards(
    whole: Shards, project: Project, splits: Mapping[str, str], fold: list[int], seed: int
) -> None:
    """The catalogue's own samples with other splits, and a receipt."""
    settings = {**whole.receipt.settings, "fold": fold}
    receipt = Receipt("prepare", settings, {"shards": whole.receipt.hash}, seed)
    receipt.counts = dict(whole.receipt.counts)
    with project.writing("shards", receipt=receipt) as folder:
        receipt.files, receipt.content = shards.resplit(whole, folder, lambda r: splits[r.id])


def open_eval_set(
    project: Project, recipe: Recipe, cache: Path, fold: int = 0, split: str = ""
) -> EvalSet:
    """What models are measured on in a project: the rows of `split`, or of the recipe's own.

    Outputs of models are stored in `cache`.
    """
    opened = Shards.of(project)
    options = recipe.evaluate.model_copy(update={"split": split} if split else {})
    measured = recipe.model_copy(update={"evaluate": options})
    return EvalSet.of(opened, measured, token_window(recipe.base, fetch=True), cache, fold)


def train_recipe(project: Project, recipe: Recipe, on_progress: Progress | None) -> str:
    """The name of a finished run: a new one, or the last one, resumed after an interruption."""
    # As `train` does, so that the run is known again.
    images = len(Shards.of(project).rows("train"))
    recipe, notes = sized(recipe, images)
    for note in notes:
        logger.info("%s", note)
    for name in project.runs()[-1:]:
        folder = project.path("runs", name)
        try:
            same = read_run_recipe(folder).training_inputs() == recipe.training_inputs()
            if same and not Receipt.read(folder):
                return train(project, recipe, resume=name, on_progress=on_progress)[0]
        except NotReady:
            # It never began, or the base's weights changed since.
            break
        except Damaged as problem:
            logger.warning("%s It is trained again.", problem.fact)
            break
    return train(project, recipe, on_progress=on_progress)[0]
