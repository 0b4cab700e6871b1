"""TODO docstring."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from unidiff_cli.data.batch import open_image
from unidiff_cli.evaluation import verdict
from unidiff_cli.evaluation.collapse_meters import PROBE, flags
from unidiff_cli.evaluation.eval_set import EvalSet
from unidiff_cli.evaluation.extractors import scorer
from unidiff_cli.evaluation.measure import Measures, _sees, named
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.model_under_test import ModelUnderTest
from unidiff_cli.evaluation.outputs import TOP, ModelOutputs, Output
from unidiff_cli.evaluation.results import FigureSpec, compared
from unidiff_cli.evaluation.statistics import Comparison, Interval, sentence
from unidiff_cli.project import run_log
from unidiff_cli.project.files import write_json
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt, versions
from unidiff_cli.reports import evaluation, schema

QUERIES, SHOWN = 6, 5  # retrieval examples in the report, and how many answers of each


# ---------------------------------------------------------------- report.json


def build_report(
    project: Project,
    title: str,
    subjects: Sequence[ModelUnderTest],
    eval_set: EvalSet,
    metrics: Mapping[str, Metric],
    models: Mapping[str, Measures],
) -> dict[str, Any]:
    """Figures with intervals, paired tests, what to hold them against, and everything that made them; all but the
    verdict, the seconds and what was left out."""
    first, *others = models
    figures = {name: _figures(measures) for name, measures in models.items()}
    there = {key for each in figures.values() for key in each}
    described: dict[str, FigureSpec] = {
        k: f for metric in metrics.values() for k, f in metric.figures.items() if k in there
    }
    against = [(first, name) for name in others]
    _, *whole = (s.name for s in subjects if s.alpha == 1)  # exports as they are, the base aside
    against += [(whole[0], name) for name in whole[1:]]
    tests = [test for pair in against for test in _tests(*pair, metrics, models)]
    sees = _sees(metrics)
    base: Measures = models[first]
    references: dict[str, dict[str, float]] = {"chance": {}, "real": {}, "null_level": {}}
    for measured in base.values():
        for kind, values in measured.references.items():
            references[kind] |= {k: v for k, v in values.items() if math.isfinite(v)}
    meters = {name: {k: f["value"] for k, f in found.items()} for name, found in figures.items()}
    return {
        "schema_version": 2,
        "title": title,
        "split": eval_set.evaluate.split,
        "counts": {"rows": len(eval_set.rows), "groups": len(set(eval_set.groups)), "captions": len(eval_set.captions),
                   "drawn": len(eval_set.prompts) if sees else 0},
        "models": {
            s.name: {"source": named(s.source), "weights": s.model_hash, "alpha": s.alpha} for s in subjects
        },
        "figures": figures,
        "described": {key: figure._asdict() for key, figure in described.items()},
        "references": references,
        "tests": tests,
        "flags": {name: _flags(meters[first], meters[name]) for name in others},
        "shows": {name: {m: measured.shows for m, measured in each.items() if measured.shows} for name, each in models.items()},
        "notes": {m: list(dict.fromkeys(note for each in models.values() for note in each[m].notes)) for m in metrics},
        "warnings": _warnings(project, subjects, eval_set.evaluate.split),
        "losses": {s.name: losses for s in subjects if s.encoder == "clip" and (losses := _losses(project, s))},
        "scorer": _scorer() if sees else None,
        "extractor": f"{eval_set.extractor.name}, {eval_set.extractor.feature_size} features" if sees else None,
        "image_size": subjects[-1].image_size,
        "generate": eval_set.generate.model_dump(mode="json"),
        "prompts": eval_set.prompts if sees else [],
        "seeds": eval_set.seeds if sees else [],
        "versions": versions(),
    }  # fmt: skip


def _scorer() -> dict[str, Any]:
    eye = scorer()
    return {"name": eye.name, "fingerprint": eye.weights_hash, "millions": round(eye.millions, 2)}


def _figures(measures: Measures) -> dict[str, dict[str, Any]]:
    """Every figure with its interval, where it has one, and what it was taken over."""
    found: dict[str, dict[str, Any]] = {}
    for measured in measures.values():
        around: Mapping[str, Interval] = measured.intervals()
        for key, value in measured.figures.items():
            found[key] = (
                around[key]._asdict() | {"value": value} if key in around else {"value": value}
            )
    return found


def _tests(
    first: str, name: str, metrics: Mapping[str, Metric], models: Mapping[str, Measures]
) -> list[dict[str, Any]]:
    """Paired tests of a model against another, in the metrics' order."""
    found = []
    for metric, part in metrics.items():
        for key, test in compared(
            part.figures, models[first][metric], models[name][metric]
        ).items():
            figure = part.figures[key]
            found.append(
                _test(first, name, key, test, sentence(test, figure.label, figure.percent))
            )
    return found


def _test(first: str, name: str, key: str, test: Comparison, said: str) -> dict[str, Any]:
    return {
        "model": name, "against": first, "figure": key, "difference": test.difference, "low": test.low, "high": test.high,
        "p": test.p, "items": test.items, "groups": test.groups, "verdict": test.verdict, "sentence": said,
    }  # fmt: skip


def _flags(base: Mapping[str, float], tuned: Mapping[str, float]) -> list[dict[str, Any]]:
    """The collapse meters of both probes against the base's."""
    both = [("", f) for f in flags(base, tuned)] + [
        ("everyday objects: ", f) for f in flags(base, tuned, PROBE)
    ]
    return [_flag(of, flag) for of, flag in both]


def _flag(of: str, flag: Any) -> dict[str, Any]:
    base, measure = (None if math.isnan(v) else v for v in (flag.base, flag.measure))
    return {
        "meter": of + flag.meter, "base": base, "tuned": flag.tuned, "measure": measure,
        "compares": flag.rule.compares, "limit": flag.rule.limit, "words": flag.rule.words, "raised": flag.raised,
    }  # fmt: skip


def _runs(project: Project, subject: ModelUnderTest) -> list[str]:
    """The runs an export came from."""
    made = Receipt.read(Path(str(subject.source)))
    return [room for room in (made.inputs if made else {}) if room.startswith("runs/")]


SPLITS = {  # what measuring on it means
    "train": "These are the images that were trained on: the figures say nothing about new ones. Take evaluate.split=test.",
    "val": "The weights were picked by these images: the figures are a little better than on new ones. Take evaluate.split=test.",
}


def _warnings(project: Project, subjects: Sequence[ModelUnderTest], split: str) -> list[str]:
    """Whether an export may have seen what it is measured on."""
    found = [SPLITS[split]] if split in SPLITS else []
    now = Receipt.read(project.path("shards"))
    for subject in subjects:
        for room in _runs(project, subject):
            run = Receipt.read(project.path(*room.split("/")))
            if run and now and run.inputs.get("shards") not in (None, now.hash):
                found.append(
                    f"{subject.name} was trained on other shards than these: it may have seen these images. Train again."
                )
    return list(dict.fromkeys(found))


def _losses(project: Project, subject: ModelUnderTest) -> dict[str, list[Any]]:
    """step -> value of each term that the export's run logged, at most 400 points."""
    for room in _runs(project, subject):
        lines = run_log.read(project.path(*room.split("/")))
        if not lines:
            continue
        steps = [line for line in lines if isinstance(line.get("step"), int) and "loss" in line]
        steps = steps[:: max(1, len(steps) // 400)]
        made = Receipt.read(Path(str(subject.source)))
        terms = [
            t
            for t in (made.settings.get("objectives") or {} if made else {})
            if any(t in s for s in steps)
        ]
        return {"step": [s["step"] for s in steps], **{t: [s.get(t) for s in steps] for t in terms}}
    return {}


# ---------------------------------------------------------------- the room


def write_report(
    room: Path,
    found: dict[str, Any],
    eval_set: EvalSet,
    outputs: Mapping[str, ModelOutputs],
    receipt: Receipt,
) -> None:
    """The verdict on what was found, and the files of report/: samples first, the page last; the receipt's figures."""
    found = {**found, "verdict": verdict.verdict(found)}
    rows, prompts, shown = eval_set.generated_rows, eval_set.prompts, 0
    (room / "samples").mkdir()
    if found["counts"]["drawn"] and any(Output.GENERATED_IMAGES in e.computed for e in outputs.values()):
        shown = min(eval_set.evaluate.examples, len(prompts))
        for name, model in outputs.items():
            for i in range(shown):
                info = PngInfo()
                info.add_itxt("prompt", prompts[i])
                info.add_text("seed", str(eval_set.seeds[i]))
                info.add_text("model", model.subject.model_hash)
                Image.fromarray(model.generated_images[i]).save(
                    room / "samples" / f"{name.replace(' ', '-')}-{i:03d}.png", pnginfo=info
                )
    examples = [
        {
            "prompt": prompts[i],
            "real": open_image(eval_set.shards, rows[i]),
            "drawn": {name: Image.fromarray(model.generated_images[i]) for name, model in outputs.items()},
        }
        for i in range(shown)
    ]
    schema.Report.model_validate(found)
    write_json(room / "report.json", found)
    (room / "report.md").write_text(evaluation.markdown(found), encoding="utf-8")
    page = evaluation.page(
        found, _queries(eval_set, outputs), examples, _copies(eval_set, outputs, found)
    )
    (room / "report.html").write_text(page, encoding="utf-8")
    receipt.counts = found["counts"]
    receipt.figures = {
        m: {k: f["value"] for k, f in each.items()} for m, each in found["figures"].items()
    }


def _queries(eval_set: EvalSet, outputs: Mapping[str, ModelOutputs]) -> list[dict[str, Any]]:
    """Captions picked by the seed, not by how well they did, and what each model finds for them."""
    if not all(Output.RANKINGS in model.computed for model in outputs.values()):
        return []
    asked = (
        np.random.default_rng(eval_set.evaluate.seed)
        .permutation(len(eval_set.captions))[:QUERIES]
        .tolist()
    )
    right = {tuple(pair) for pair in eval_set.pairs.tolist()}
    return [
        {
            "caption": eval_set.captions[c],
            "answers": {
                name: [
                    (open_image(eval_set.shards, eval_set.rows[r]), (c, r) in right)
                    for r in model.rankings["t2i"].top[c, : min(SHOWN, TOP)].tolist()
                ]
                for name, model in outputs.items()
            },
        }
        for c in asked
    ]


def _copies(
    eval_set: EvalSet, outputs: Mapping[str, ModelOutputs], found: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The closest pairs of a drawn and a training image above the threshold."""
    shown = []
    for name, model in outputs.items():
        pairs = found["shows"].get(name, {}).get("near_copies", {}).get("pairs", [])
        shown += [
            {
                "model": name,
                "cosine": cosine,
                "prompt": eval_set.prompts[drawn],
                "drawn": Image.fromarray(model.generated_images[drawn]),
                "training": open_image(eval_set.shards, eval_set.training_sample[learned]),
            }
            for drawn, learned, cosine in pairs[:4]
        ]
    return shown
