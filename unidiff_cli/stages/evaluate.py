"""evaluate: an export against its base on the held-out split → report/, figures and a page to read."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL.Image import Image
from PIL.PngImagePlugin import PngInfo

from .. import bases, plugins, report
from ..batches import picture
from ..errors import WorkError
from ..metrics import Evidence, Figure, HeldOut, Metric, scorer
from ..project import Project, Receipt, versions, write_json
from ..recipe import Recipe
from ..shards import Shards

if TYPE_CHECKING:
    from ..bases.stable_diffusion import StableDiffusion as Base

Progress = Callable[[str, int, int], None]
QUERIES, TOP = 6, 5  # retrieval examples in the report, and how many answers of each


def evaluate(
    project: Project,
    recipe: Recipe,
    *,
    export: str | None = None,
    force: bool = False,
    on_progress: Progress | None = None,
) -> Receipt:
    """Measures the base and the export on the same rows, prompts and seeds, and writes `report/`.

    The receipt's figures are {"base": {…}, "tuned": {…}}. A report of the same work is returned as it is, unless
    `force`. Raises NotReady, UsageError for an unknown export, WorkError for an empty split or a figure that is no
    number, EnvironmentProblem where weights are not here.
    """
    with project.lock(existing=True):
        # What we read.
        prepared = project.receipt("shards", command="unidiff prepare CATALOG")
        folder = project.export(export)
        made = project.receipt("exports", folder.name)
        settings = {**recipe.section("evaluate", "generate"), "export": folder.name}
        inputs = {"shards": prepared.hash, f"exports/{folder.name}": made.hash}
        done = Receipt.read(project.room("report"))
        if done and done.same_work(settings, inputs) and not force:
            return done
        shards = Shards.open(project.room("shards"))
        held = HeldOut(shards, shards.rows(recipe.evaluate.split), recipe.evaluate, recipe.generate)
        metrics: dict[str, Metric] = {
            name: plugins.load("metrics", name)() for name in recipe.evaluate.metrics
        }
        # What we refuse.
        _refuse(held, metrics)
        # Do.
        receipt, models = Receipt("evaluate", settings, inputs, recipe.evaluate.seed), {}
        with project.writing("report", receipt=receipt) as room:
            for name, source in (("base", made.settings["base"]), ("tuned", str(folder))):
                models[name] = _measure(name, source, made.settings["image_size"], held, metrics, on_progress)
            found = _report(project, folder.name, made, held, metrics, models)
            _write(room, found, held, models)
            # Close the room.
            receipt.counts = found["counts"]
            receipt.figures = {name: found[name] for name in models}
        return receipt


@dataclass
class Measured:
    """What one model came to, without the model."""

    figures: dict[str, float] = field(default_factory=dict)
    references: dict[str, dict[str, float]] = field(default_factory=dict)  # chance, real -> figures
    margins: dict[str, float] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    found: list[list[int]] = field(default_factory=list)  # the TOP rows of each example query, best first
    drawn: list[Image] = field(default_factory=list)  # the first `examples` pictures
    fingerprint: str = ""
    source: str = ""
    seconds: float = 0.0


def _refuse(held: HeldOut, metrics: Mapping[str, Metric]) -> None:
    split = held.evaluate.split
    if not held.rows:
        raise WorkError(
            f"The catalogue has no {split} pictures to measure on.",
            "Give that split a share in prepare.splits and prepare again, or take another: --set evaluate.split=val",
        )
    if not metrics:
        raise WorkError(
            "evaluate.metrics is empty: there is nothing to measure.", "Name some: recall, kid, clip_score."
        )
    for metric in metrics.values():
        metric.refuse(held)


def _measure(
    name: str,
    source: Any,
    image_size: int,
    held: HeldOut,
    metrics: Mapping[str, Metric],
    on_progress: Progress | None,
) -> Measured:
    """Loads one model, computes what is asked, keeps the examples and lets the model go."""
    started = time.monotonic()
    base: Base = bases.load(source, image_size).eval()
    base.to("cuda" if torch.cuda.is_available() else "cpu")
    told = (lambda what, done, total: on_progress(f"{name}: {what}", done, total)) if on_progress else None
    evidence, result = (
        Evidence(base, held, told),
        Measured(fingerprint=base.fingerprint, source=base.source.diffusion),
    )
    for key, metric in metrics.items():
        result.figures |= metric.compute(evidence)
        result.margins |= metric.margins(evidence)
        result.notes[key] = metric.notes(evidence)
        for kind, values in metric.references(evidence).items():
            result.references.setdefault(kind, {}).update(values)
    if wrong := [key for key, value in result.figures.items() if not math.isfinite(value)]:
        raise WorkError(
            f"{wrong[0]} of the {name} model is no number.", "Its weights are broken: train it again."
        )
    reads = {what for metric in metrics.values() for what in metric.reads}
    if {"image_embeds", "text_embeds"} <= reads:
        asked = evidence.similarity[_queries(held)]
        result.found = np.argsort(-asked, axis=1, kind="stable")[:, :TOP].tolist()
    if any(what.startswith("generated") for what in reads):
        result.drawn = evidence.generated[: held.evaluate.examples]
    result.seconds = round(time.monotonic() - started, 2)
    return result


def _queries(held: HeldOut) -> list[int]:
    """The captions shown as retrieval examples: picked by the seed, not by how well they did."""
    return np.random.default_rng(held.evaluate.seed).permutation(len(held.captions))[:QUERIES].tolist()


def _report(
    project: Project,
    export: str,
    made: Receipt,
    held: HeldOut,
    metrics: Mapping[str, Metric],
    models: Mapping[str, Measured],
) -> dict[str, Any]:
    """report.json: the figures, what to hold them against, and everything that made them."""
    base, tuned = models["base"], models["tuned"]
    described: dict[str, Figure] = {k: f for m in metrics.values() for k, f in m.figures.items()}
    sees = any(what.startswith(("generated", "real", "prompt")) for m in metrics.values() for what in m.reads)
    eye = scorer() if sees else None
    found = {
        "schema_version": 1,
        "export": export,
        "split": held.evaluate.split,
        "images": len(held.prompts) if sees else 0,
        **{name: model.figures for name, model in models.items()},  # "base" and "tuned"
        "chance": base.references.get("chance", {}),
        "real": base.references.get("real", {}),
        "margins": {k: max(v, tuned.margins.get(k, 0.0)) for k, v in base.margins.items()},
        "described": {key: figure._asdict() for key, figure in described.items()},
        "notes": {**tuned.notes, "data": _data_notes(project, made)},
        "counts": {
            "rows": len(held.rows),
            "captions": len(held.captions),
            "drawn": len(held.prompts) if sees else 0,
        },
        "scorer": {"name": eye.name, "fingerprint": eye.fingerprint, "millions": round(eye.millions, 2)}
        if eye
        else None,
        "extractor": f"{eye.name}: {eye.features} features of its image tower at {eye.image_size} px"
        if eye
        else None,
        "models": {
            n: {"source": Path(m.source).name, "fingerprint": m.fingerprint} for n, m in models.items()
        },
        "image_size": made.settings["image_size"],
        "generate": held.generate.model_dump(mode="json"),
        "prompts": held.prompts if sees else [],
        "seeds": held.seeds if sees else [],
        "seconds": {name: model.seconds for name, model in models.items()},
        "versions": versions(),
    }
    return {**found, "verdict": report.verdict(found)}


def _data_notes(project: Project, made: Receipt) -> list[str]:
    """Whether the export may have trained on what it is measured on."""
    for room in (name for name in made.inputs if name.startswith("runs/")):
        run, now = Receipt.read(project.room(*room.split("/"))), Receipt.read(project.room("shards"))
        if run and now and run.inputs.get("shards") not in (None, now.hash):
            return [
                "The export was trained on other shards than these: it may have seen these pictures. Train again."
            ]
    return []


def _write(room: Path, found: dict[str, Any], held: HeldOut, models: Mapping[str, Measured]) -> None:
    """The files of report/: samples first, the page last."""
    rows, prompts = held.drawn_rows, held.prompts
    shown = max(len(model.drawn) for model in models.values())
    (room / "samples").mkdir()
    for name, model in models.items():
        for i, drawn in enumerate(model.drawn):
            info = PngInfo()
            info.add_itxt("prompt", prompts[i])
            info.add_text("seed", str(held.seeds[i]))
            info.add_text("model", model.fingerprint)
            drawn.save(room / "samples" / f"{name}-{i:03d}.png", pnginfo=info)
    examples = [
        {
            "prompt": prompts[i],
            "real": picture(held.shards, rows[i]),
            **{n: m.drawn[i] for n, m in models.items()},
        }
        for i in range(shown)
    ]
    asked = _queries(held) if models["base"].found else []
    queries = [
        {
            "caption": held.captions[c],
            "answers": {
                n: [(picture(held.shards, held.rows[r]), bool(held.relevant[c, r])) for r in m.found[q]]
                for n, m in models.items()
            },
        }
        for q, c in enumerate(asked)
    ]
    write_json(room / "report.json", found)
    (room / "report.md").write_text(report.markdown(found), encoding="utf-8")
    (room / "report.html").write_text(report.page(found, queries, examples), encoding="utf-8")
