"""Measures models: which models and metrics there are, and every metric of every model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unidiff_cli import registry
from unidiff_cli.config.schema import Evaluate, Recipe
from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation.eval_set import EvalSet
from unidiff_cli.evaluation.extractors import scorer
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.model_under_test import ModelUnderTest
from unidiff_cli.evaluation.outputs import ModelOutputs
from unidiff_cli.evaluation.probe import ProbeSet
from unidiff_cli.evaluation.results import MetricResult, Results
from unidiff_cli.models import encoders, sources
from unidiff_cli.models.buckets_file import read_buckets
from unidiff_cli.models.guidance_file import guidance_in_force
from unidiff_cli.progress import Progress
from unidiff_cli.project.files import digest
from unidiff_cli.project.project import Project
from unidiff_cli.reports.schema import FigureSpec

# ---------------------------------------------------------------- models


def export_model(project: Project, export: str, name: str = "") -> ModelUnderTest:
    """An export as a model to measure, by default under its own name, at its own size."""
    receipt = project.receipt("exports", export)
    base, image_size = receipt.settings["base"], receipt.settings["image_size"]
    folder = project.path("exports", export)
    model = ModelUnderTest(name or export, str(folder), base, image_size, receipt.hash)
    kept = read_buckets(folder)
    return replace(model, wanted_size=kept.size) if kept else model


def base_model(model: ModelUnderTest) -> ModelUnderTest:
    """The base that a model was trained from, measured at the model's size."""
    files_hash = sources.files_hash(model.base)
    base, side, size = model.base, model.image_size, model.wanted_size
    return ModelUnderTest("base", base, base, side, files_hash, wanted_size=size)


def blended_model(tuned: ModelUnderTest, base: ModelUnderTest, alpha: float) -> ModelUnderTest:
    """An export whose CLIP is blended with the base's; `alpha` is the export's share.

    The denoiser is the export's: it gives nothing back of what CLIP knew.
    """
    model_hash = digest([tuned.model_hash, base.model_hash, alpha])
    return replace(tuned, name=f"alpha {alpha:g}", model_hash=model_hash, alpha=alpha)


def by_encoder(model: ModelUnderTest, prefix: str = "") -> list[ModelUnderTest]:
    """An export by CLIP, and by each other image encoder that it has: prefix + encoder."""
    others = [
        name for name in encoders.available_encoders(Path(model.source)) if name != model.encoder
    ]
    return [model, *(replace(model, name=prefix + name, encoder=name) for name in others)]


def source_name(source: Any) -> str:
    """The folder or hub id of a base or an export; both of a base in two parts."""
    parts = (
        [source[part] for part in ("diffusion", "clip")]
        if isinstance(source, Mapping)
        else [source]
    )
    return " + ".join(Path(str(part)).name for part in parts)


# ---------------------------------------------------------------- metrics


def metric_types() -> dict[str, type[Metric]]:
    """All metrics, in the order of a report."""
    types: dict[str, Any] = {n: registry.load("metrics", n) for n in registry.names("metrics")}
    return dict(sorted(types.items(), key=lambda item: item[1].place))


def choose_metrics(
    eval_sets: Sequence[EvalSet], needs: Sequence[str] = ()
) -> tuple[dict[str, Metric], dict[str, str]]:
    """The metrics to compute, and why each other metric is left out.

    These are the metrics that the recipe names, or all that every eval set allows. `needs` are
    figures that must be among them. Raises WorkError for an empty split, and for a named or needed
    metric that would mislead, and as `_check_judges` does.
    """
    split, named = eval_sets[0].evaluate.split, eval_sets[0].evaluate.metrics
    if not all(eval_set.rows for eval_set in eval_sets):
        raise WorkError(
            f"The catalogue has no {split} images to measure on.",
            "Give that split a share in prepare.splits and prepare again, "
            "or take another: --set evaluate.split=val",
        )
    metrics: dict[str, Metric] = {}
    left_out: dict[str, str] = {}
    for name in named or metric_types():
        metric = registry.load("metrics", name)()
        required = bool(named) or not set(needs).isdisjoint(metric.specs(eval_sets[0].evaluate))
        if metric.on_request and not required:
            left_out[name] = "It is measured where evaluate.metrics names it."
            continue
        try:
            for eval_set in eval_sets:
                metric.check(eval_set)
        except WorkError as problem:
            if required:
                raise
            left_out[name] = problem.fact
        else:
            metrics[name] = metric
    if needs_generated_images(metrics):
        _check_judges(eval_sets, figure_specs(metrics, eval_sets[0].evaluate), needs)
    return metrics, left_out


def check_scorer(evaluate: Evaluate, metrics: Mapping[str, Metric], base: Any) -> None:
    """Raises UsageError where evaluate.scorer names the CLIP of the base, or one tuned from it."""
    if evaluate.scorer and needs_generated_images(metrics):
        from unidiff_cli.evaluation.extractors.nano_scorer import refuse_related

        refuse_related(scorer(evaluate.scorer), base)


def figure_specs(metrics: Mapping[str, Metric], evaluate: Evaluate) -> dict[str, FigureSpec]:
    """How each figure of these metrics is read."""
    return {k: spec for metric in metrics.values() for k, spec in metric.specs(evaluate).items()}


def _check_judges(
    eval_sets: Sequence[EvalSet], specs: Mapping[str, FigureSpec], needs: Sequence[str]
) -> None:
    """Loads what judges generated images, before any is generated.

    Raises UsageError or EnvironmentProblem where a network is not there, and WorkError for a needed
    figure that so few images give no verdict on.
    """
    for eval_set in eval_sets:
        eval_set.extractors  # noqa: B018
    eval_sets[0].scorer  # noqa: B018
    images = sum(eval_set.evaluate.images for eval_set in eval_sets)
    for key in needs:
        if key in specs and images < (least := specs[key].verdict_images):
            raise WorkError(
                f"{specs[key].label} over {images:,} generated images gives no verdict, "
                f"so {key} can be no gate; it needs {least:,}.",
                f"Raise evaluate.images to {-(-least // len(eval_sets))}.",
            )


def needs_generated_images(metrics: Mapping[str, Metric]) -> bool:
    """Whether images are generated and judged by the scorer."""
    return any(metric.needs_generated_images for metric in metrics.values())


def evaluation_settings(recipe: Recipe, metrics: Mapping[str, Metric]) -> dict[str, Any]:
    """What decides figures besides the models, for a receipt."""
    probe = recipe.evaluate.probe
    return {
        **recipe.section("evaluate", "generate"),
        "long_captions": recipe.train.long_captions,
        "metrics": list(metrics),
        "base_guidance": _base_guidance(recipe) if needs_generated_images(metrics) else None,
        "scorer": scorer(recipe.evaluate.scorer).weights_hash
        if needs_generated_images(metrics)
        else None,
        "probe": ProbeSet.from_catalogue(probe).images_hash if probe else None,
    }


def _base_guidance(recipe: Recipe) -> str:
    """How the base's images are guided; an export's guidance is in its receipt."""
    _, source = sources.resolve_base(recipe.base)
    return str(guidance_in_force(recipe.generate, source)[0])


# ---------------------------------------------------------------- results


@dataclass(frozen=True)
class Measurement:
    """Models of a project, measured on one eval set; the first is the base of the others.

    `results` and `outputs` are by the models' names.
    """

    project: Project
    eval_set: EvalSet
    models: Sequence[ModelUnderTest]
    results: dict[str, Results]
    outputs: dict[str, ModelOutputs]


def measure(
    project: Project,
    eval_set: EvalSet,
    metrics: Mapping[str, Metric],
    models: Sequence[ModelUnderTest],
    on_progress: Progress | None = None,
) -> Measurement:
    """Every metric of every model; one model is in memory at a time.

    Raises WorkError for a figure that is not a finite number.
    """
    measurement = Measurement(project, eval_set, models, {}, {})
    base_outputs: ModelOutputs | None = None
    for model in models:
        progress = with_prefix(model.name, on_progress)
        outputs = ModelOutputs(model, eval_set, base_outputs, progress)
        measurement.results[model.name] = model_results(outputs, metrics)
        measurement.outputs[model.name] = outputs
        base_outputs = base_outputs or outputs
    return measurement


def model_results(outputs: ModelOutputs, metrics: Mapping[str, Metric]) -> dict[str, MetricResult]:
    """Every metric of one model, whose weights are freed at the end.

    Raises WorkError for a figure that is not a finite number.
    """
    results = {name: metric_result(metric, outputs) for name, metric in metrics.items()}
    outputs.release()
    return results


def metric_result(metric: Metric, outputs: ModelOutputs) -> MetricResult:
    """One metric of one model. Raises WorkError for a figure that is not a finite number."""
    figures = metric.compute(outputs)
    if wrong := [key for key, value in figures.items() if not math.isfinite(value)]:
        raise WorkError(
            f"{wrong[0]} of the {outputs.subject.name} model is no number.",
            "Its weights are broken: train it again.",
        )
    return MetricResult(
        figures,
        {key: items for key, items in metric.per_item(outputs).items() if key in figures},
        {key: samples for key, samples in metric.bootstrap(outputs).items() if key in figures},
        metric.details(outputs),
        metric.references(outputs),
        metric.notes(outputs),
    )


def with_prefix(name: str, on_progress: Progress | None) -> Progress | None:
    """The same progress with `name` before each label."""
    if on_progress is None:
        return None
    return lambda label, done, total: on_progress(f"{name}: {label}", done, total)
