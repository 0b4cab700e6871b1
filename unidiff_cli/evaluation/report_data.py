"""build_report: the Report of models that were measured, on one eval set or over folds."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from unidiff_cli.errors import Damaged, NotReady
from unidiff_cli.evaluation.blends import retrieval_and_retention
from unidiff_cli.evaluation.collapse_meters import flags
from unidiff_cli.evaluation.measure import (
    Measurement,
    figure_specs,
    needs_generated_images,
    source_name,
)
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.model_under_test import ModelUnderTest
from unidiff_cli.evaluation.results import Results, pool, table_tests
from unidiff_cli.evaluation.verdict import verdict
from unidiff_cli.project import run_log
from unidiff_cli.project.files import digest
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import QUICK, Receipt, versions
from unidiff_cli.reports.schema import (
    Counts,
    Details,
    Flag,
    Generation,
    Losses,
    Model,
    References,
    Report,
    Scorer,
)

logger = logging.getLogger("unidiff")

# Points of a loss curve.
MAX_POINTS = 400
# What it means to measure on a split that training used.
SPLIT_WARNINGS = {
    "train": "These are the images that were trained on: the figures say nothing about new ones. "
    "Take evaluate.split=test.",
    "val": "The weights were picked by these images: the figures are a little better than on new "
    "ones. Take evaluate.split=test.",
}


def build_report(
    title: str,
    parts: Sequence[Measurement],
    metrics: Mapping[str, Metric],
    left_out: Mapping[str, str],
    seconds: float,
    margin: float | None = None,
) -> Report:
    """The report of one measurement, or of several folds that share no row.

    Folds have models of the same names. Their figures are pooled; prompts, losses and warnings of
    all are in it. `margin` is in points: by how much a share may be worse and count as not worse.
    """
    results = _results(parts)
    base, *others = results
    figures = {
        model: {key: each for result in by.values() for key, each in result.intervals().items()}
        for model, by in results.items()
    }
    measured = {key for by_figure in figures.values() for key in by_figure}
    specs = {
        key: spec
        for key, spec in figure_specs(metrics, parts[0].eval_set.evaluate).items()
        if key in measured
    }
    meters = {
        model: {key: each.value for key, each in by_figure.items()}
        for model, by_figure in figures.items()
    }
    logs = _logs(parts)
    counts = _counts(parts, metrics)
    report = Report(
        title=title,
        verdict="",
        split=parts[0].eval_set.evaluate.split if len(parts) == 1 else f"{len(parts)} folds",
        counts=counts,
        models=_models(parts),
        figures=figures,
        specs=specs,
        references=_references(results[base]),
        tests=table_tests(_pairs(parts[0].models), results, specs, counts.generated, margin),
        margin=margin,
        tradeoff=retrieval_and_retention(parts[0].models, meters, specs),
        flags={model: _flags(meters[base], meters[model]) for model in others},
        details={
            model: {m: each.details for m, each in by.items() if each.details != Details()}
            for model, by in results.items()
        },
        notes={
            metric: _distinct(note for by in results.values() for note in by[metric].notes)
            for metric in metrics
        },
        warnings=_distinct(warning for part in parts for warning in _warnings(part)),
        left_out=dict(left_out),
        losses={model: _losses(*log) for model, log in logs.items()},
        gradients={model: each for model, log in logs.items() if (each := _gradients(log[0]))},
        generation=_generation(parts) if needs_generated_images(metrics) else None,
        versions=versions(),
        seconds=round(seconds, 1),
    )
    return report.model_copy(update={"verdict": verdict(report)})


def _distinct(sentences: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(sentences))


def _results(parts: Sequence[Measurement]) -> dict[str, Results]:
    """Each model's results, over the folds where there are several."""
    if len(parts) == 1:
        return parts[0].results
    return {
        model: {metric: pool([part.results[model][metric] for part in parts]) for metric in by}
        for model, by in parts[0].results.items()
    }


def _counts(parts: Sequence[Measurement], metrics: Mapping[str, Metric]) -> Counts:
    eval_sets = [part.eval_set for part in parts]
    generated = needs_generated_images(metrics)
    return Counts(
        rows=sum(len(each.rows) for each in eval_sets),
        groups=sum(len(set(each.groups)) for each in eval_sets),
        captions=sum(len(each.captions) for each in eval_sets),
        generated=sum(len(each.prompts) for each in eval_sets) if generated else 0,
        folds=len(parts) if len(parts) > 1 else None,
    )


def _models(parts: Sequence[Measurement]) -> dict[str, Model]:
    """The models by name; one that folds train anew has a hash of all its hashes."""
    models = {}
    for folds in zip(*(part.models for part in parts), strict=True):
        first, hashes = folds[0], [model.model_hash for model in folds]
        models[first.name] = Model(
            role=first.role,
            source=source_name(first.source),
            weights=digest(hashes) if len(set(hashes)) > 1 else hashes[0],
            alpha=first.alpha,
        )
    return models


def _references(results: Results) -> References:
    """The base's references, without those that are not finite."""
    kinds: dict[str, dict[str, float]] = {}
    for result in results.values():
        for kind, values in result.references.items():
            finite = {key: value for key, value in values.items() if math.isfinite(value)}
            kinds.setdefault(kind, {}).update(finite)
    return References(**kinds)


def _pairs(models: Sequence[ModelUnderTest]) -> list[tuple[str, str]]:
    """Every model with the base, and every other whole export with the first one."""
    base, *others = (model.name for model in models)
    _, first, *rest = (model.name for model in models if model.role != "blend")
    return [*((model, base) for model in others), *((model, first) for model in rest)]


def _flags(base: Mapping[str, float], tuned: Mapping[str, float]) -> list[Flag]:
    """The collapse meters on the catalogue and on everyday objects."""
    return [*flags(base, tuned), *flags(base, tuned, "everyday objects")]


def _generation(parts: Sequence[Measurement]) -> Generation:
    eval_set = parts[-1].eval_set
    judge = eval_set.scorer
    return Generation(
        prompts=[prompt for part in parts for prompt in part.eval_set.prompts],
        seeds=[seed for part in parts for seed in part.eval_set.seeds],
        image_size=parts[-1].models[-1].image_size,
        size=str(parts[-1].models[-1].size),
        steps=eval_set.generate.steps,
        guidance=_guidance(parts),
        scorer=Scorer(
            name=judge.name, weights=judge.weights_hash, millions=round(judge.millions, 2)
        ),
        extractor="; ".join(
            f"{extractor.name}, {extractor.feature_size} features"
            for extractor in eval_set.extractors.values()
        ),
    )


def _guidance(parts: Sequence[Measurement]) -> dict[str, str]:
    """How each model's images are guided, and why; of folds all that there are."""
    sentences: dict[str, list[str]] = {}
    for part in parts:
        for name, outputs in part.outputs.items():
            guidance, why = outputs.guidance
            sentences.setdefault(name, []).append(f"{guidance} ({why})")
    return {name: ", ".join(_distinct(each)) for name, each in sentences.items()}


# ---------------------------------------------------------------- the runs of exports


def _runs(project: Project, model: ModelUnderTest) -> list[Path]:
    """The folders of the training runs that an export came from."""
    receipt = Receipt.read(Path(str(model.source)))
    names = [Path(name) for name in (receipt.inputs if receipt else {})]
    return [project.path(*name.parts) for name in names if name.parts[0] == "runs"]


def _warnings(part: Measurement) -> list[str]:
    """Whether a model may have seen the images that it is measured on."""
    split = part.eval_set.evaluate.split
    warnings = [SPLIT_WARNINGS[split]] if split in SPLIT_WARNINGS else []
    shards = part.eval_set.shards_hash
    for model in part.models:
        for folder in _runs(part.project, model):
            run = Receipt.read(folder)
            if run and run.inputs.get("shards") not in (None, shards):
                warnings.append(
                    f"{model.name} was trained on other shards than these: it may have seen these "
                    "images. Train again."
                )
    return warnings


# The lines that a run logged of its steps, and its objectives.
RunLines = tuple[list[dict[str, Any]], list[str]]


def _logs(parts: Sequence[Measurement]) -> dict[str, RunLines]:
    """The log of every run that trained an export."""
    logs = {}
    for number, part in enumerate(parts, 1):
        for model in part.models:
            if model.role == "tuned" and (log := _run_log(part.project, model)):
                fold = f", fold {number}" if len(parts) > 1 else ""
                logs[model.name + fold] = log
    return logs


def _run_log(project: Project, model: ModelUnderTest) -> RunLines | None:
    """What an export's run logged; None where it has no log."""
    receipt = Receipt.read(Path(str(model.source)))
    objectives = (receipt.settings.get("objectives") or {}) if receipt else {}
    for folder in _runs(project, model):
        try:
            project.receipt("runs", folder.name, hashed=QUICK)
        except NotReady:
            continue
        except Damaged as problem:
            logger.warning("%s The report shows no losses of that run.", problem.fact)
            continue
        lines = [line for line in run_log.read(folder) if "step" in line and "loss" in line]
        if lines:
            return lines, list(objectives)
    return None


def _losses(lines: list[dict[str, Any]], objectives: list[str]) -> Losses:
    """The terms of a run, without those that are always 0: a weight of 0 computes none."""
    return _curves(lines, [term for term in objectives if any(line.get(term) for line in lines)])


def _gradients(lines: list[dict[str, Any]]) -> Losses | None:
    """Norms, cosines and factors of a run, at the steps that measured them; None without any."""
    lines = [line for line in lines if any(key.startswith("gradient_norm") for key in line)]
    names = dict.fromkeys(key for line in lines for key in line if key.startswith("gradient_"))
    return _curves(lines, list(names)) if names else None


def _curves(lines: list[dict[str, Any]], names: list[str]) -> Losses:
    """Figures of a run's log by step, MAX_POINTS or a few more."""
    lines = lines[:: max(1, len(lines) // MAX_POINTS)]
    terms = {name: [_finite(line.get(name)) for line in lines] for name in names}
    return Losses(step=[line["step"] for line in lines], terms=terms)


def _finite(value: Any) -> float | None:
    return value if isinstance(value, int | float) and math.isfinite(value) else None
