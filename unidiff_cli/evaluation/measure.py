"""TODO docstring."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unidiff_cli import registry
from unidiff_cli.config.schema import Recipe
from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation.eval_set import EvalSet
from unidiff_cli.evaluation.extractors import scorer
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.model_under_test import ModelUnderTest
from unidiff_cli.evaluation.outputs import ModelOutputs
from unidiff_cli.evaluation.probe import ProbeSet
from unidiff_cli.evaluation.results import MetricResult
from unidiff_cli.models import encoders, sources
from unidiff_cli.progress import Progress
from unidiff_cli.project.project import Project

# The order of a report, where nobody asked for one: what people look for first.
ORDER = (
    "recall",
    "zero_shot",
    "diffusion_classifier",
    "kid",
    "fid",
    "cmmd",
    "clip_score",
    "r_precision",
    "attributes",
    "precision_recall",
    "diversity",
    "near_copies",
    "retention",
    "collapse",
    "drift",
    "denoise_loss",
)
Measures = dict[str, MetricResult]  # by metric


def subject_of(project: Project, export: str, name: str = "") -> ModelUnderTest:
    """An export as something to measure."""
    made = project.receipt("exports", export)
    base, size = made.settings["base"], made.settings["image_size"]
    return ModelUnderTest(
        name or export, str(project.path("exports", export)), base, size, made.hash
    )


def ways_of(tuned: ModelUnderTest, name: str) -> list[ModelUnderTest]:
    """An export as its CLIP finds and, under `name`, as its DiffDis does where it has one."""
    found = [tuned]
    if "diffdis" in encoders.available_encoders(Path(str(tuned.source))):
        found.append(replace(tuned, name=name, encoder="diffdis"))
    return found


def base_of(of: ModelUnderTest) -> ModelUnderTest:
    return ModelUnderTest("base", of.base, of.base, of.image_size, sources.files_hash(of.base))


def named(source: Any) -> str:
    """A base or an export by its folder or hub id, without where it lies; both halves where they are apart."""
    halves = (
        [source[half] for half in ("diffusion", "clip")]
        if isinstance(source, Mapping)
        else [source]
    )
    return " + ".join(Path(str(half)).name for half in halves)


def settings_of(recipe: Recipe, metrics: Mapping[str, Metric]) -> dict[str, Any]:
    """What decides figures besides the models: the recipe's part, which metrics there are, and who looks at images."""
    eye = scorer().weights_hash if _sees(metrics) else None
    photos = ProbeSet.from_catalogue(recipe.evaluate.probe).images_hash if recipe.evaluate.probe else None
    return {
        **recipe.section("evaluate", "generate"),
        "metrics": list(metrics),
        "scorer": eye,
        "probe": photos,
    }


def _sees(metrics: Mapping[str, Metric]) -> bool:
    """Whether anything is drawn and looked at."""
    return any(metric.needs_generated_images for metric in metrics.values())


def measure(
    eval_set: EvalSet,
    metrics: Mapping[str, Metric],
    subjects: Sequence[ModelUnderTest],
    on_progress: Progress | None = None,
) -> tuple[dict[str, Measures], dict[str, ModelOutputs]]:
    """Every metric of every model, the first of which is the base of the others; one model is in memory at a time."""
    models: dict[str, Measures] = {}
    seen: dict[str, ModelOutputs] = {}
    before: ModelOutputs | None = None
    for subject in subjects:
        outputs = ModelOutputs(subject, eval_set, before, under(subject.name, on_progress))
        models[subject.name] = measured_of(outputs, metrics)
        before, seen[subject.name] = before or outputs, outputs
    return models, seen


def measured_of(outputs: ModelOutputs, metrics: Mapping[str, Metric]) -> Measures:
    """Every metric of one model, whose weights are let go. Raises WorkError for a figure that is no number."""
    found = {name: MetricResult.of(metric, outputs) for name, metric in metrics.items()}
    for measured in found.values():
        if wrong := [key for key, value in measured.figures.items() if not math.isfinite(value)]:
            raise WorkError(
                f"{wrong[0]} of the {outputs.subject.name} model is no number.",
                "Its weights are broken: train it again.",
            )
    outputs.release()
    return found


def under(name: str, on_progress: Progress | None) -> Progress | None:
    """Progress told under the name of what makes it."""
    return (
        (lambda what, done, total: on_progress(f"{name}: {what}", done, total))
        if on_progress
        else None
    )


def chosen(
    folds: Sequence[EvalSet], needs: Sequence[str] = ()
) -> tuple[dict[str, Metric], dict[str, str]]:
    """The metrics asked for, or all that this catalogue allows in every fold, and why the others were left out.

    Raises WorkError for an empty split, and for a metric that would mislead and was asked for, by name or by one of the
    figures in `needs`.
    """
    split, asked = folds[0].evaluate.split, folds[0].evaluate.metrics
    if not all(eval_set.rows for eval_set in folds):
        raise WorkError(
            f"The catalogue has no {split} images to measure on.",
            "Give that split a share in prepare.splits and prepare again, or take another: --set evaluate.split=val",
        )
    metrics: dict[str, Metric] = {}
    left_out: dict[str, str] = {}
    for name in asked or ORDER + tuple(n for n in registry.names("metrics") if n not in ORDER):
        metric = registry.load("metrics", name)()
        if metric.on_request and not asked and not set(needs) & set(metric.figures):
            left_out[name] = "It takes long, and is measured where evaluate.metrics names it."
            continue
        try:
            for eval_set in folds:
                metric.check(eval_set)
        except WorkError as problem:
            if asked or set(needs) & set(metric.figures):
                raise
            left_out[name] = problem.fact
        else:
            metrics[name] = metric
    return metrics, left_out
