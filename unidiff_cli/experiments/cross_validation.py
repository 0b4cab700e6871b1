"""evaluate_folds: a recipe trained and tested k times → folds/.

Each product is tested once, by a model that was not trained on it: for catalogues whose test split
is too small to tell two models apart.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from unidiff_cli.config.schema import Recipe
from unidiff_cli.evaluation.measure import (
    base_model,
    by_encoder,
    check_scorer,
    choose_metrics,
    evaluation_settings,
    export_model,
    measure,
    needs_generated_images,
    with_prefix,
)
from unidiff_cli.evaluation.report_data import build_report
from unidiff_cli.evaluation.report_files import write_report
from unidiff_cli.experiments.folds import (
    TRAINING_SECTIONS,
    fold_projects,
    open_eval_set,
    train_recipe,
)
from unidiff_cli.exporters.export import export
from unidiff_cli.models import sources
from unidiff_cli.progress import Progress
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt


def evaluate_folds(
    project: Project,
    recipe: Recipe,
    count: int,
    *,
    needs: Sequence[str] = (),
    margin: float | None = None,
    force: bool = False,
    on_progress: Progress | None = None,
) -> Receipt:
    """Trains and measures on `count` folds by group and writes the pooled report to `folds/`.

    Its figures are {"base": {…}, "tuned": {…}} over every row of the catalogue. `needs` and
    `margin` are as in `evaluate`. What is finished is not done again. Raises as the stages do, and
    WorkError for fewer groups than folds.
    """
    # What is read.
    prepared = project.receipt("shards")
    projects = fold_projects(project, recipe, count)
    cache = project.folder("cache") / "evaluate"
    eval_sets = [
        open_eval_set(each, recipe, cache, fold, "test") for fold, each in enumerate(projects)
    ]
    # What is refused.
    metrics, left_out = choose_metrics(eval_sets, needs)
    check_scorer(recipe.evaluate, metrics, recipe.base)
    # What is finished already.
    settings = {
        **recipe.section(*TRAINING_SECTIONS),
        **evaluation_settings(recipe, metrics),
        "folds": count,
        "margin": margin,
        "weights": sources.files_hash(recipe.base),
    }
    inputs = {"shards": prepared.hash}
    finished = project.finished("folds", settings=settings, inputs=inputs)
    if finished and not force:
        return finished
    # The work.
    started = time.monotonic()
    parts = []
    for fold, (inner, eval_set) in enumerate(zip(projects, eval_sets, strict=True), 1):
        progress = with_prefix(f"fold {fold} of {count}", on_progress)
        run = train_recipe(inner, recipe, progress)
        choose = needs_generated_images(metrics)
        name, _ = export(inner, run, alpha_clip=recipe.train.alpha, choose_guidance=choose)
        tuned = export_model(inner, name, "tuned")
        models = [base_model(tuned), *by_encoder(tuned)]
        parts.append(measure(inner, eval_set, metrics, models, progress))
    with project.lock(existing=True):
        receipt = Receipt("evaluate", settings, inputs, recipe.evaluate.seed)
        with project.writing("folds", receipt=receipt, started=started) as folder:
            title = f"{recipe.name} against its base in {count} folds"
            seconds = time.monotonic() - started
            report = build_report(title, parts, metrics, left_out, seconds, margin)
            write_report(folder, report, parts[-1], receipt)
    return receipt
