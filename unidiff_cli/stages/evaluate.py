"""evaluate: models on the held-out split, figures with intervals, paired tests and a page to read → report/, comparison/."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from .. import bases, plugins, report, vectors
from ..batches import picture
from ..errors import UsageError, WorkError
from ..metrics import Figure, Measured, Metric, Progress, compared, scorer
from ..metrics._evidence import TOP, Evidence, HeldOut, Probe, Subject
from ..metrics._statistics import Comparison, Interval, sentence
from ..metrics.collapse import flags
from ..project import Project, Receipt, digest, versions, write_json
from ..recipe import Recipe
from ..shards import Shards

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
QUERIES, SHOWN = 6, 5  # retrieval examples in the report, and how many answers of each
Measures = dict[str, Measured]  # by metric


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
            f"--alphas {wrong[0]:g} is no share.", "Give numbers from 0 (the base) to 1 (the tuned weights)."
        )
    with project.lock(existing=True):
        project.receipt("shards", command="unidiff prepare CATALOG")
        folder = project.export(export)
        tuned = subject_of(project, folder.name, "tuned")
        base = base_of(tuned)
        between = [a for a in dict.fromkeys(alphas) if 0 < a < 1]
        blends = [
            replace(tuned, name=f"alpha {a:g}", stamp=digest([tuned.stamp, base.stamp, a]), alpha=a)
            for a in between
        ]
        title = f"{folder.name} against its base"
        made = {"export": folder.name, "alphas": between}
        subjects = [base, *blends, *ways_of(tuned, "diffdis")]
        return _evaluated(project, recipe, "report", title, subjects, made, needs, force, on_progress)


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
    than two names and for exports of different bases or picture sizes.
    """
    names = list(dict.fromkeys(names))
    if len(names) < 2:
        raise UsageError(
            "compare needs two exports or more.", "Name them, as in: unidiff compare 001-fashion 002-joint"
        )
    with project.lock(existing=True):
        first, *others = subjects = [subject_of(project, project.export(name).name) for name in names]
        base = base_of(first)
        for other in others:
            alike = other.base == first.base or base_of(other).stamp == base.stamp
            if not alike or other.image_size != first.image_size:
                raise UsageError(
                    f"{first.name} ({named(first.base)}, {first.image_size} px) and {other.name} ({named(other.base)}, "
                    f"{other.image_size} px) have not the same base and picture size.",
                    "Compare exports of one base, or evaluate each against its own.",
                )
        title, made = " against ".join(names), {"exports": names}
        subjects = [
            base,
            *(way for subject in subjects for way in ways_of(subject, f"{subject.name}, diffdis")),
        ]
        return _evaluated(project, recipe, "comparison", title, subjects, made, (), force, on_progress)


def subject_of(project: Project, export: str, name: str = "") -> Subject:
    """An export as something to measure."""
    made = project.receipt("exports", export)
    base, size = made.settings["base"], made.settings["image_size"]
    return Subject(name or export, str(project.room("exports", export)), base, size, made.hash)


def ways_of(tuned: Subject, name: str) -> list[Subject]:
    """An export as its CLIP finds and, under `name`, as its DiffDis does where it has one."""
    found = [tuned]
    if "diffdis" in vectors.ways(Path(str(tuned.source))):
        found.append(replace(tuned, name=name, by="diffdis"))
    return found


def base_of(of: Subject) -> Subject:
    return Subject("base", of.base, of.base, of.image_size, bases.stamp(of.base))


def named(source: Any) -> str:
    """A base or an export by its folder or hub id, without where it lies; both halves where they are apart."""
    halves = [source[half] for half in ("diffusion", "clip")] if isinstance(source, Mapping) else [source]
    return " + ".join(Path(str(half)).name for half in halves)


def _evaluated(
    project: Project,
    recipe: Recipe,
    room: str,
    title: str,
    subjects: Sequence[Subject],
    made: dict[str, Any],
    needs: Sequence[str],
    force: bool,
    on_progress: Progress | None,
) -> Receipt:
    # What we read.
    prepared = project.receipt("shards", command="unidiff prepare CATALOG")
    shards = Shards.open(project.room("shards"))
    cache = project.room("cache", "evaluate")
    rows = shards.rows(recipe.evaluate.split)
    held = HeldOut(shards, rows, recipe.evaluate, recipe.generate, cache, prepared.hash)
    # What we refuse.
    metrics, left_out = chosen([held], needs)
    # What is there already.
    settings = {
        **settings_of(recipe, metrics), **made, "models": {subject.name: subject.stamp for subject in subjects},
    }  # fmt: skip
    exports = dict.fromkeys(named(subject.source) for subject in subjects[1:])
    inputs = {
        "shards": prepared.hash,
        **{f"exports/{n}": project.receipt("exports", n).hash for n in exports},
    }
    done = Receipt.read(project.room(room))
    if done and done.same_work(settings, inputs) and not force:
        return done
    # Do.
    receipt = Receipt("evaluate", settings, inputs, recipe.evaluate.seed)
    with project.writing(room, receipt=receipt) as fresh:
        started = time.monotonic()
        models, evidence = measure(held, metrics, subjects, on_progress)
        found = found_of(project, title, subjects, held, metrics, models) | {"left_out": left_out}
        found["seconds"] = round(time.monotonic() - started, 1)
        write_report(fresh, found, held, evidence, receipt)
    return receipt


def settings_of(recipe: Recipe, metrics: Mapping[str, Metric]) -> dict[str, Any]:
    """What decides figures besides the models: the recipe's part, which metrics there are, and who looks at pictures."""
    eye = scorer().fingerprint if _sees(metrics) else None
    photos = Probe.photographed(recipe.evaluate.probe).stamp if recipe.evaluate.probe else None
    return {
        **recipe.section("evaluate", "generate"),
        "metrics": list(metrics),
        "scorer": eye,
        "probe": photos,
    }


def _sees(metrics: Mapping[str, Metric]) -> bool:
    """Whether anything is drawn and looked at."""
    reads = {what for metric in metrics.values() for what in metric.reads}
    return any(what.startswith(("generated", "real", "prompt", "grid")) for what in reads)


def measure(
    held: HeldOut,
    metrics: Mapping[str, Metric],
    subjects: Sequence[Subject],
    on_progress: Progress | None = None,
) -> tuple[dict[str, Measures], dict[str, Evidence]]:
    """Every metric of every model, the first of which is the base of the others; one model is in memory at a time."""
    models: dict[str, Measures] = {}
    seen: dict[str, Evidence] = {}
    before: Evidence | None = None
    for subject in subjects:
        evidence = Evidence(subject, held, before, under(subject.name, on_progress))
        models[subject.name] = measured_of(evidence, metrics)
        before, seen[subject.name] = before or evidence, evidence
    return models, seen


def measured_of(evidence: Evidence, metrics: Mapping[str, Metric]) -> Measures:
    """Every metric of one model, whose weights are let go. Raises WorkError for a figure that is no number."""
    found = {name: Measured.of(metric, evidence) for name, metric in metrics.items()}
    for measured in found.values():
        if wrong := [key for key, value in measured.figures.items() if not math.isfinite(value)]:
            raise WorkError(
                f"{wrong[0]} of the {evidence.subject.name} model is no number.",
                "Its weights are broken: train it again.",
            )
    evidence.release()
    return found


def under(name: str, on_progress: Progress | None) -> Progress | None:
    """Progress told under the name of what makes it."""
    return (lambda what, done, total: on_progress(f"{name}: {what}", done, total)) if on_progress else None


def chosen(folds: Sequence[HeldOut], needs: Sequence[str] = ()) -> tuple[dict[str, Metric], dict[str, str]]:
    """The metrics asked for, or all that this catalogue allows in every fold, and why the others were left out.

    Raises WorkError for an empty split, and for a metric that would mislead and was asked for, by name or by one of the
    figures in `needs`.
    """
    split, asked = folds[0].evaluate.split, folds[0].evaluate.metrics
    if not all(held.rows for held in folds):
        raise WorkError(
            f"The catalogue has no {split} pictures to measure on.",
            "Give that split a share in prepare.splits and prepare again, or take another: --set evaluate.split=val",
        )
    metrics: dict[str, Metric] = {}
    left_out: dict[str, str] = {}
    for name in asked or ORDER + tuple(n for n in plugins.names("metrics") if n not in ORDER):
        metric = plugins.load("metrics", name)()
        if metric.on_request and not asked and not set(needs) & set(metric.figures):
            left_out[name] = "It takes long, and is measured where evaluate.metrics names it."
            continue
        try:
            for held in folds:
                metric.refuse(held)
        except WorkError as problem:
            if asked or set(needs) & set(metric.figures):
                raise
            left_out[name] = problem.fact
        else:
            metrics[name] = metric
    return metrics, left_out


# ---------------------------------------------------------------- report.json


def found_of(
    project: Project,
    title: str,
    subjects: Sequence[Subject],
    held: HeldOut,
    metrics: Mapping[str, Metric],
    models: Mapping[str, Measures],
) -> dict[str, Any]:
    """Figures with intervals, paired tests, what to hold them against, and everything that made them; all but the
    verdict, the seconds and what was left out."""
    first, *others = models
    figures = {name: _figures(measures) for name, measures in models.items()}
    there = {key for each in figures.values() for key in each}
    described: dict[str, Figure] = {
        k: f for metric in metrics.values() for k, f in metric.figures.items() if k in there
    }
    against = [(first, name) for name in others]
    _, *whole = (s.name for s in subjects if s.alpha == 1)  # exports as they are, the base aside
    against += [(whole[0], name) for name in whole[1:]]
    tests = [test for pair in against for test in _tests(*pair, metrics, models)]
    sees = _sees(metrics)
    base: Measures = models[first]
    references: dict[str, dict[str, float]] = {"chance": {}, "real": {}, "noise": {}}
    for measured in base.values():
        for kind, values in measured.references.items():
            references[kind] |= {k: v for k, v in values.items() if math.isfinite(v)}
    meters = {name: {k: f["value"] for k, f in found.items()} for name, found in figures.items()}
    return {
        "schema_version": 2,
        "title": title,
        "split": held.evaluate.split,
        "counts": {"rows": len(held.rows), "groups": len(set(held.groups)), "captions": len(held.captions),
                   "drawn": len(held.prompts) if sees else 0},
        "models": {
            s.name: {"source": named(s.source), "weights": s.stamp, "alpha": s.alpha} for s in subjects
        },
        "figures": figures,
        "described": {key: figure._asdict() for key, figure in described.items()},
        "references": references,
        "tests": tests,
        "flags": {name: _flags(meters[first], meters[name]) for name in others},
        "shows": {name: {m: measured.shows for m, measured in each.items() if measured.shows} for name, each in models.items()},
        "notes": {m: list(dict.fromkeys(note for each in models.values() for note in each[m].notes)) for m in metrics},
        "warnings": _warnings(project, subjects, held.evaluate.split),
        "losses": {s.name: losses for s in subjects if s.by == "clip" and (losses := _losses(project, s))},
        "scorer": _scorer() if sees else None,
        "extractor": f"{held.extractor.name}, {held.extractor.features} features" if sees else None,
        "image_size": subjects[-1].image_size,
        "generate": held.generate.model_dump(mode="json"),
        "prompts": held.prompts if sees else [],
        "seeds": held.seeds if sees else [],
        "versions": versions(),
    }  # fmt: skip


def _scorer() -> dict[str, Any]:
    eye = scorer()
    return {"name": eye.name, "fingerprint": eye.fingerprint, "millions": round(eye.millions, 2)}


def _figures(measures: Measures) -> dict[str, dict[str, Any]]:
    """Every figure with its interval, where it has one, and what it was taken over."""
    found: dict[str, dict[str, Any]] = {}
    for measured in measures.values():
        around: Mapping[str, Interval] = measured.intervals()
        for key, value in measured.figures.items():
            found[key] = around[key]._asdict() | {"value": value} if key in around else {"value": value}
    return found


def _tests(
    first: str, name: str, metrics: Mapping[str, Metric], models: Mapping[str, Measures]
) -> list[dict[str, Any]]:
    """Paired tests of a model against another, in the metrics' order."""
    found = []
    for metric, part in metrics.items():
        for key, test in compared(part.figures, models[first][metric], models[name][metric]).items():
            figure = part.figures[key]
            found.append(_test(first, name, key, test, sentence(test, figure.label, figure.percent)))
    return found


def _test(first: str, name: str, key: str, test: Comparison, said: str) -> dict[str, Any]:
    return {
        "model": name, "against": first, "figure": key, "difference": test.difference, "low": test.low, "high": test.high,
        "p": test.p, "items": test.items, "groups": test.groups, "verdict": test.verdict, "sentence": said,
    }  # fmt: skip


def _flags(base: Mapping[str, float], tuned: Mapping[str, float]) -> list[dict[str, Any]]:
    """The collapse meters of both probes against the base's."""
    neutral = [
        {k[len("probe_") :]: v for k, v in found.items() if k.startswith("probe_")} for found in (base, tuned)
    ]
    both = [("", f) for f in flags(base, tuned)] + [("everyday objects: ", f) for f in flags(*neutral)]
    return [_flag(of, flag) for of, flag in both]


def _flag(of: str, flag: Any) -> dict[str, Any]:
    base, measure = (None if math.isnan(v) else v for v in (flag.base, flag.measure))
    return {
        "meter": of + flag.meter, "base": base, "tuned": flag.tuned, "measure": measure,
        "compares": flag.rule.compares, "limit": flag.rule.limit, "words": flag.rule.words, "raised": flag.raised,
    }  # fmt: skip


def _runs(project: Project, subject: Subject) -> list[str]:
    """The runs an export came from."""
    made = Receipt.read(Path(str(subject.source)))
    return [room for room in (made.inputs if made else {}) if room.startswith("runs/")]


SPLITS = {  # what measuring on it means
    "train": "These are the pictures that were trained on: the figures say nothing about new ones. Take evaluate.split=test.",
    "val": "The weights were picked by these pictures: the figures are a little better than on new ones. Take evaluate.split=test.",
}


def _warnings(project: Project, subjects: Sequence[Subject], split: str) -> list[str]:
    """Whether an export may have seen what it is measured on."""
    found = [SPLITS[split]] if split in SPLITS else []
    now = Receipt.read(project.room("shards"))
    for subject in subjects:
        for room in _runs(project, subject):
            run = Receipt.read(project.room(*room.split("/")))
            if run and now and run.inputs.get("shards") not in (None, now.hash):
                found.append(
                    f"{subject.name} was trained on other shards than these: it may have seen these pictures. Train again."
                )
    return list(dict.fromkeys(found))


def _losses(project: Project, subject: Subject) -> dict[str, list[Any]]:
    """step -> value of each term that the export's run logged, at most 400 points."""
    for room in _runs(project, subject):
        file = project.room(*room.split("/"), "log.jsonl")
        if not file.is_file():
            continue
        lines = []
        for line in file.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                continue  # the last line of a killed run
        steps = [line for line in lines if isinstance(line.get("step"), int) and "loss" in line]
        steps = steps[:: max(1, len(steps) // 400)]
        made = Receipt.read(Path(str(subject.source)))
        terms = [
            t for t in (made.settings.get("objectives") or {} if made else {}) if any(t in s for s in steps)
        ]
        return {"step": [s["step"] for s in steps], **{t: [s.get(t) for s in steps] for t in terms}}
    return {}


# ---------------------------------------------------------------- the room


def write_report(
    room: Path, found: dict[str, Any], held: HeldOut, evidence: Mapping[str, Evidence], receipt: Receipt
) -> None:
    """The verdict on what was found, and the files of report/: samples first, the page last; the receipt's figures."""
    found = {**found, "verdict": report.verdict(found)}
    rows, prompts, shown = held.drawn_rows, held.prompts, 0
    (room / "samples").mkdir()
    if found["counts"]["drawn"] and any("generated" in vars(e) for e in evidence.values()):
        shown = min(held.evaluate.examples, len(prompts))
        for name, model in evidence.items():
            for i in range(shown):
                info = PngInfo()
                info.add_itxt("prompt", prompts[i])
                info.add_text("seed", str(held.seeds[i]))
                info.add_text("model", model.subject.stamp)
                Image.fromarray(model.generated[i]).save(
                    room / "samples" / f"{name.replace(' ', '-')}-{i:03d}.png", pnginfo=info
                )
    examples = [
        {
            "prompt": prompts[i],
            "real": picture(held.shards, rows[i]),
            "drawn": {name: Image.fromarray(model.generated[i]) for name, model in evidence.items()},
        }
        for i in range(shown)
    ]
    report.Report.model_validate(found)
    write_json(room / "report.json", found)
    (room / "report.md").write_text(report.markdown(found), encoding="utf-8")
    page = report.page(found, _queries(held, evidence), examples, _copies(held, evidence, found))
    (room / "report.html").write_text(page, encoding="utf-8")
    receipt.counts = found["counts"]
    receipt.figures = {m: {k: f["value"] for k, f in each.items()} for m, each in found["figures"].items()}


def _queries(held: HeldOut, evidence: Mapping[str, Evidence]) -> list[dict[str, Any]]:
    """Captions picked by the seed, not by how well they did, and what each model finds for them."""
    if not all("found" in vars(model) for model in evidence.values()):
        return []
    asked = np.random.default_rng(held.evaluate.seed).permutation(len(held.captions))[:QUERIES].tolist()
    right = {tuple(pair) for pair in held.pairs.tolist()}
    return [
        {
            "caption": held.captions[c],
            "answers": {
                name: [
                    (picture(held.shards, held.rows[r]), (c, r) in right)
                    for r in model.found["t2i"].top[c, : min(SHOWN, TOP)].tolist()
                ]
                for name, model in evidence.items()
            },
        }
        for c in asked
    ]


def _copies(
    held: HeldOut, evidence: Mapping[str, Evidence], found: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The closest pairs of a drawn and a training picture above the threshold."""
    shown = []
    for name, model in evidence.items():
        pairs = found["shows"].get(name, {}).get("near_copies", {}).get("pairs", [])
        shown += [
            {
                "model": name,
                "cosine": cosine,
                "prompt": held.prompts[drawn],
                "drawn": Image.fromarray(model.generated[drawn]),
                "training": picture(held.shards, held.training_rows[learned]),
            }
            for drawn, learned, cosine in pairs[:4]
        ]
    return shown
