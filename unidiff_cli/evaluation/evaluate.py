"""evaluate and compare: models on held-out images → report/, comparison/."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from unidiff_cli.config.schema import Recipe
from unidiff_cli.data.shards import Shards
from unidiff_cli.errors import UsageError
from unidiff_cli.evaluation.eval_set import EvalSet
from unidiff_cli.evaluation.measure import (
    base_model,
    blended_model,
    by_encoder,
    check_scorer,
    choose_metrics,
    evaluation_settings,
    export_model,
    measure,
    source_name,
)
from unidiff_cli.evaluation.model_under_test import ModelUnderTest
from unidiff_cli.evaluation.report_data import build_report
from unidiff_cli.evaluation.report_files import write_report
from unidiff_cli.models.token_windows import token_window
from unidiff_cli.progress import Progress
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt


@dataclass(frozen=True)
class Evaluation:
    """What to measure and where to write it: the base first, then other models.

    `settings` are what the receipt says beside the recipe, `needs` figures that must be computed,
    `margin` the points by which a share may be worse and count as not worse.
    """

    folder: str
    title: str
    models: Sequence[ModelUnderTest]
    settings: dict[str, Any]
    needs: Sequence[str] = ()
    margin: float | None = None


def evaluate(
    project: Project,
    recipe: Recipe,
    *,
    export: str | None = None,
    alphas: Sequence[float] = (),
    needs: Sequence[str] = (),
    margin: float | None = None,
    force: bool = False,
    on_progress: Progress | None = None,
) -> Receipt:
    """Measures an export and its base on the same rows, prompts and seeds, and writes `report/`.

    The receipt's figures are {"base": {…}, "tuned": {…}}; each of `alphas` adds the export with
    CLIP's towers blended with the base's, as "alpha 0.5". `margin` is in points: the report says of
    each share whether it is worse by no more. A finished report of the same work is
    returned as it is, unless `force`; stored outputs of models are used either way. Raises
    NotReady, UsageError for an unknown export or alpha, WorkError for an empty split, for a figure
    that is not finite and, before any image is generated, for one of `needs` that the catalogue
    does not allow, and EnvironmentProblem for missing weights.
    """
    if wrong := [alpha for alpha in alphas if not 0 <= alpha <= 1]:
        raise UsageError(
            f"--alphas {wrong[0]:g} is no share.",
            "Give numbers from 0 (the base) to 1 (the tuned weights).",
        )
    with project.lock(existing=True):
        project.receipt("shards")
        name = project.export(export, hashed=None).name
        tuned = export_model(project, name, "tuned")
        base = base_model(tuned)
        between = [alpha for alpha in dict.fromkeys(alphas) if 0 < alpha < 1]
        blends = [blended_model(tuned, base, alpha) for alpha in between]
        evaluation = Evaluation(
            "report",
            f"{name} against its base",
            [base, *by_encoder(tuned), *blends],
            {"export": name, "alphas": between},
            needs,
            margin,
        )
        return _run(project, recipe, evaluation, force, on_progress)


def compare(
    project: Project,
    recipe: Recipe,
    names: Sequence[str],
    *,
    margin: float | None = None,
    force: bool = False,
    on_progress: Progress | None = None,
) -> Receipt:
    """Measures several exports and the base of the first alike, and writes `comparison/`.

    Each is tested against the base, and the others against the first; `margin` is as in `evaluate`.
    Raises as `evaluate`, and
    UsageError for fewer than two names and for exports of different bases or image sizes.
    """
    names = list(dict.fromkeys(names))
    if len(names) < 2:
        raise UsageError(
            "compare needs two exports or more.",
            "Name them, as in: unidiff compare 001-fashion 002-joint",
        )
    with project.lock(existing=True):
        exports = [export_model(project, project.export(name, hashed=None).name) for name in names]
        # All are measured at the size of the first.
        exports = [replace(export, wanted_size=exports[0].wanted_size) for export in exports]
        base = base_model(exports[0])
        for other in exports[1:]:
            _refuse_unlike(exports[0], other, base)
        models = [model for export in exports for model in by_encoder(export, f"{export.name}, ")]
        evaluation = Evaluation(
            "comparison",
            " against ".join(names),
            [base, *models],
            {"exports": names},
            margin=margin,
        )
        return _run(project, recipe, evaluation, force, on_progress)


def _refuse_unlike(first: ModelUnderTest, other: ModelUnderTest, base: ModelUnderTest) -> None:
    """Raises UsageError for exports of different bases or image sizes."""
    same_base = other.base == first.base or base_model(other).model_hash == base.model_hash
    if not same_base or other.image_size != first.image_size:
        one, two = (
            f"{model.name} ({source_name(model.base)}, {model.image_size} px)"
            for model in (first, other)
        )
        raise UsageError(
            f"{one} and {two} do not have the same base and image size.",
            "Compare exports of one base, or evaluate each against its own.",
        )


def _run(
    project: Project,
    recipe: Recipe,
    evaluation: Evaluation,
    force: bool,
    on_progress: Progress | None,
) -> Receipt:
    # What is read.
    prepared = project.receipt("shards")
    shards = Shards.of(project)
    cache = project.folder("cache") / "evaluate"
    window = token_window(evaluation.models[0].source, fetch=True)
    eval_set = EvalSet.of(shards, recipe, window, cache)
    # What is refused.
    metrics, left_out = choose_metrics([eval_set], evaluation.needs)
    check_scorer(recipe.evaluate, metrics, evaluation.models[0].source)
    # What is finished already.
    models = evaluation.models
    settings = {
        **evaluation_settings(recipe, metrics),
        **evaluation.settings,
        "margin": evaluation.margin,
        "models": {model.name: model.model_hash for model in models},
        **({} if models[0].size.is_square else {"size": str(models[0].size)}),
    }
    exports = dict.fromkeys(source_name(model.source) for model in models[1:])
    inputs = {"shards": prepared.hash}
    inputs |= {f"exports/{name}": project.receipt("exports", name).hash for name in exports}
    finished = project.finished(evaluation.folder, settings=settings, inputs=inputs)
    if finished and not force:
        return finished
    # The work.
    receipt = Receipt("evaluate", settings, inputs, recipe.evaluate.seed)
    with project.writing(evaluation.folder, receipt=receipt) as folder:
        started = time.monotonic()
        measurement = measure(project, eval_set, metrics, models, on_progress)
        seconds = time.monotonic() - started
        report = build_report(
            evaluation.title, [measurement], metrics, left_out, seconds, evaluation.margin
        )
        write_report(folder, report, measurement, receipt)
    return receipt
