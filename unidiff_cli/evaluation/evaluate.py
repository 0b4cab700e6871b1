"""evaluate: models on the held-out split, figures with intervals, paired tests and a page to read → report/, comparison/."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from unidiff_cli.config.schema import Recipe
from unidiff_cli.data.shards import Shards
from unidiff_cli.errors import UsageError
from unidiff_cli.evaluation.eval_set import EvalSet
from unidiff_cli.evaluation.measure import (
    base_of,
    chosen,
    measure,
    named,
    settings_of,
    subject_of,
    ways_of,
)
from unidiff_cli.evaluation.model_under_test import ModelUnderTest
from unidiff_cli.evaluation.report_data import build_report, write_report
from unidiff_cli.progress import Progress
from unidiff_cli.project.files import digest
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt


def evaluate(
    project: Project,
    recipe: Recipe,
    *,
    export: str | None = None,
    alphas: Sequence[float] = (),
    needs: Sequence[str] = (),
    force: bool = False,
    on_progress: Progress | None = None,
) -> Receipt:
    """Measures the base and the export on the same rows, prompts and seeds, and writes `report/`.

    The receipt's figures are {"base": {…}, "tuned": {…}}; each of `alphas` adds the export blended with its base, as
    "alpha 0.5". A report of the same work is returned as it is, unless `force`; what models made before is not made
    again either way. Raises NotReady, UsageError for an unknown export or alpha, WorkError for an empty split, for a
    figure that is no number and, before anything is drawn, for one of `needs` that the catalogue does not allow,
    EnvironmentProblem where weights are not here.
    """
    if wrong := [a for a in alphas if not 0 <= a <= 1]:
        raise UsageError(
            f"--alphas {wrong[0]:g} is no share.",
            "Give numbers from 0 (the base) to 1 (the tuned weights).",
        )
    with project.lock(existing=True):
        project.receipt("shards")
        folder = project.export(export)
        tuned = subject_of(project, folder.name, "tuned")
        base = base_of(tuned)
        between = [a for a in dict.fromkeys(alphas) if 0 < a < 1]
        blends = [
            replace(tuned, name=f"alpha {a:g}", model_hash=digest([tuned.model_hash, base.model_hash, a]), alpha=a)
            for a in between
        ]
        title = f"{folder.name} against its base"
        made = {"export": folder.name, "alphas": between}
        subjects = [base, *blends, *ways_of(tuned, "diffdis")]
        return _evaluated(
            project, recipe, "report", title, subjects, made, needs, force, on_progress
        )


def compare(
    project: Project,
    recipe: Recipe,
    names: Sequence[str],
    *,
    force: bool = False,
    on_progress: Progress | None = None,
) -> Receipt:
    """Measures several exports and the base of the first on the same rows, prompts and seeds, and writes `comparison/`.

    Each is held against the base, and the first against the others. Raises as `evaluate`, and UsageError for fewer
    than two names and for exports of different bases or image sizes.
    """
    names = list(dict.fromkeys(names))
    if len(names) < 2:
        raise UsageError(
            "compare needs two exports or more.",
            "Name them, as in: unidiff compare 001-fashion 002-joint",
        )
    with project.lock(existing=True):
        first, *others = subjects = [
            subject_of(project, project.export(name).name) for name in names
        ]
        base = base_of(first)
        for other in others:
            alike = other.base == first.base or base_of(other).model_hash == base.model_hash
            if not alike or other.image_size != first.image_size:
                raise UsageError(
                    f"{first.name} ({named(first.base)}, {first.image_size} px) and {other.name} ({named(other.base)}, "
                    f"{other.image_size} px) have not the same base and image size.",
                    "Compare exports of one base, or evaluate each against its own.",
                )
        title, made = " against ".join(names), {"exports": names}
        subjects = [
            base,
            *(way for subject in subjects for way in ways_of(subject, f"{subject.name}, diffdis")),
        ]
        return _evaluated(
            project, recipe, "comparison", title, subjects, made, (), force, on_progress
        )


def _evaluated(
    project: Project,
    recipe: Recipe,
    room: str,
    title: str,
    subjects: Sequence[ModelUnderTest],
    made: dict[str, Any],
    needs: Sequence[str],
    force: bool,
    on_progress: Progress | None,
) -> Receipt:
    # What we read.
    prepared = project.receipt("shards")
    shards = Shards.open(project.path("shards"))
    cache = project.path("cache", "evaluate")
    rows = shards.rows(recipe.evaluate.split)
    eval_set = EvalSet(shards, rows, recipe.evaluate, recipe.generate, cache)
    # What we refuse.
    metrics, left_out = chosen([eval_set], needs)
    # What is there already.
    settings = {
        **settings_of(recipe, metrics), **made, "models": {subject.name: subject.model_hash for subject in subjects},
    }  # fmt: skip
    exports = dict.fromkeys(named(subject.source) for subject in subjects[1:])
    inputs = {
        "shards": prepared.hash,
        **{f"exports/{n}": project.receipt("exports", n).hash for n in exports},
    }
    done = Receipt.read(project.path(room))
    if done and done.same_work(settings, inputs) and not force:
        return done
    # Do.
    receipt = Receipt("evaluate", settings, inputs, recipe.evaluate.seed)
    with project.writing(room, receipt=receipt) as fresh:
        started = time.monotonic()
        models, outputs = measure(eval_set, metrics, subjects, on_progress)
        found = build_report(project, title, subjects, eval_set, metrics, models) | {
            "left_out": left_out
        }
        found["seconds"] = round(time.monotonic() - started, 1)
        write_report(fresh, found, eval_set, outputs, receipt)
    return receipt
