"""folds: a recipe trained and tested k times, each product tested once by a model that never saw it → folds/.

For catalogues whose test split is too small to tell two models apart. It runs the stages, one project inside the
project for each fold; what is finished is not done again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unidiff_cli.config.load import read_recipe
from unidiff_cli.config.schema import Recipe
from unidiff_cli.data import shards
from unidiff_cli.data.shards import Row, Shards
from unidiff_cli.data.splits import folds as in_folds
from unidiff_cli.errors import NotReady, WorkError
from unidiff_cli.evaluation.eval_set import EvalSet
from unidiff_cli.evaluation.measure import (
    Measures,
    base_of,
    chosen,
    measure,
    settings_of,
    subject_of,
    under,
    ways_of,
)
from unidiff_cli.evaluation.report_data import build_report, write_report
from unidiff_cli.evaluation.results import MetricResult
from unidiff_cli.exporters.export import export
from unidiff_cli.models import sources
from unidiff_cli.progress import Progress
from unidiff_cli.project.files import digest
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt, close
from unidiff_cli.training.train import train

TRAINED = ("base", "image_size", "objectives", "train")  # the sections that decide a run
VALIDATION = 0.1  # of the groups that are not tested, to pick the weights by


def evaluate_folds(
    project: Project,
    recipe: Recipe,
    count: int,
    *,
    needs: Sequence[str] = (),
    force: bool = False,
    on_progress: Progress | None = None,
) -> Receipt:
    """Trains and measures on `count` folds by group and writes the pooled report to `folds/`.

    Its figures are {"base": {…}, "tuned": {…}} over every row of the catalogue. Raises as the stages do, and
    WorkError for fewer groups than folds.
    """
    # What we read.
    prepared = project.receipt("shards")
    # What we refuse.
    inners = divided(project, recipe, count)
    cache = project.path("cache", "evaluate")
    folds = [held_out(inner, recipe, cache, i, "test") for i, inner in enumerate(inners)]
    metrics, left_out = chosen(folds, needs)
    # What is there already.
    settings = {
        **recipe.section(*TRAINED), **settings_of(recipe, metrics), "folds": count, "weights": sources.files_hash(recipe.base),
    }  # fmt: skip
    inputs = {"shards": prepared.hash}
    done = Receipt.read(project.path("folds"))
    if done and done.same_work(settings, inputs) and not force:
        return done
    # Do.
    started = time.monotonic()
    per_fold: list[dict[str, Any]] = []
    measured: list[dict[str, Measures]] = []
    for i, (inner, eval_set) in enumerate(zip(inners, folds, strict=True)):
        told = under(f"fold {i + 1} of {count}", on_progress)
        name = trained(inner, recipe, told)
        export(inner, name)
        tuned = subject_of(inner, name, "tuned")
        subjects = [base_of(tuned), *ways_of(tuned, "diffdis")]
        models, outputs = measure(eval_set, metrics, subjects, told)
        measured.append(models)
        per_fold.append(build_report(inner, "", subjects, eval_set, metrics, models))
    pooled = {
        model: {
            metric: MetricResult.pooled([models[model][metric] for models in measured])
            for metric in metrics
        }
        for model in models
    }
    with project.lock(existing=True):
        receipt = Receipt("evaluate", settings, inputs, recipe.evaluate.seed)
        with project.writing("folds", receipt=receipt) as fresh:
            title = f"{recipe.name} against its base in {count} folds"
            found = build_report(inner, title, subjects, eval_set, metrics, pooled) | together(
                per_fold
            )
            found |= {"left_out": left_out, "split": f"{count} folds"}
            found["seconds"] = round(time.monotonic() - started, 1)
            write_report(fresh, found, eval_set, outputs, receipt)
    return receipt


def together(folds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the report says of all folds: their counts summed, every model, prompt, seed, loss and warning."""
    first = folds[0]
    models = {
        name: about | {"weights": digest([each["models"][name]["weights"] for each in folds])}
        if len({each["models"][name]["weights"] for each in folds}) > 1
        else about
        for name, about in first["models"].items()
    }
    return {
        "counts": {key: sum(each["counts"][key] for each in folds) for key in first["counts"]} | {"folds": len(folds)},
        "models": models,
        "prompts": [prompt for each in folds for prompt in each["prompts"]],
        "seeds": [seed for each in folds for seed in each["seeds"]],
        "losses": {
            f"{name}, fold {i}": losses for i, each in enumerate(folds, 1) for name, losses in each["losses"].items()
        },
        "warnings": list(dict.fromkeys(warning for each in folds for warning in each["warnings"])),
    }  # fmt: skip


def trained(inner: Project, recipe: Recipe, told: Progress | None) -> str:
    """The fold's run of this recipe: the finished one, the interrupted one gone on with, or a new one."""
    for name in inner.runs()[-1:]:
        file = inner.path("runs", name, "recipe.yaml")
        same = file.is_file() and read_recipe(file).training_inputs() == recipe.training_inputs()
        if same and not Receipt.read(file.parent):
            try:
                return train(inner, recipe, resume=name, on_progress=told)[0]
            except NotReady:  # the base's weights are others now
                break
    return train(inner, recipe, on_progress=told)[0]


def divided(project: Project, recipe: Recipe, count: int) -> list[Project]:
    """The project of each of `count` folds by group, whose test split is the fold. Raises WorkError for too few groups."""
    whole = Shards.open(project.path("shards"))
    rows = whole.rows()
    try:
        numbers = in_folds([row.group for row in rows], count, recipe.evaluate.seed)
    except ValueError as problem:
        raise WorkError(
            f"The catalogue cannot be tested in {count} folds: {problem}.", "Ask for fewer."
        ) from None
    fold = {row.id: int(number) for row, number in zip(rows, numbers, strict=True)}
    return [_project(project, whole, recipe, fold, i, count) for i in range(count)]


def held_out(
    project: Project, recipe: Recipe, cache: Path, fold: int = 0, split: str = ""
) -> EvalSet:
    """What models are measured on in a project: `split`, or the recipe's own; what they make is kept in `cache`."""
    mine = Shards.open(project.path("shards"))
    asked = recipe.evaluate.model_copy(update={"split": split} if split else {})
    return EvalSet(
        mine, mine.rows(asked.split), asked, recipe.generate, cache, fold=fold
    )


def _project(
    project: Project, whole: Shards, recipe: Recipe, fold: dict[str, int], i: int, count: int
) -> Project:
    """The project of one fold: the catalogue's own samples, its fold as the test split, some of the rest to validate by."""
    inner = Project(
        project.path("cache", "folds", digest([whole.receipt.hash, count, recipe.evaluate.seed, i]))
    )
    if Receipt.read(inner.path("shards")):
        return inner
    inner.create()
    rest = sorted({row.group for row in whole.rows() if fold[row.id] != i})
    order = np.random.default_rng([recipe.evaluate.seed, i]).permutation(len(rest))
    checked = {rest[n] for n in order[: max(1, round(VALIDATION * len(rest)))]}

    def split(row: Row) -> str:
        return "test" if fold[row.id] == i else "val" if row.group in checked else "train"

    folder = Path(inner.path("shards"))
    files = shards.resplit(whole, folder, split)
    receipt = Receipt(
        "prepare",
        {**whole.receipt.settings, "fold": [i, count]},
        {"shards": whole.receipt.hash},
        recipe.evaluate.seed,
    )
    receipt.files, receipt.counts = files, dict(whole.receipt.counts)
    close(folder, receipt, 0)
    return inner
