"""ablate: a grid of recipes × seeds × folds with the same init, data order and steps → ablation/.

It runs the stages cell by cell, each in a small project of its own under `cache/`, keeps a cell's figures and lets its
weights go. A cell whose figures are there already is not done again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from . import __version__, bases, log, plugins
from . import recipe as recipes
from .ablation import summarised, write_tables
from .errors import Interrupted, UnidiffError, UsageError, WorkError
from .folds import TRAINED, divided, held_out, trained
from .launch import interruptions, leave, left
from .metrics._evidence import Evidence, Subject
from .metrics._kept import read_measured, write_measured
from .project import Project, Receipt, close, digest, file_digest, versions, write_json
from .recipe import Recipe
from .stages.evaluate import base_of, chosen, measured_of, settings_of, subject_of, under
from .stages.export import export
from .vectors import By

METRICS = ("recall", "kid", "clip_score", "retention", "collapse", "drift", "denoise_loss")
BASE = "base"  # the variant that is measured and not trained
ALIKE = ("base", "image_size", "generate", "evaluate")  # beside steps and batch size: what all recipes share
Progress = Callable[..., None]  # label, done, total, note


@dataclass(frozen=True)
class Cell:
    """One model to train and measure: everything its process has to know."""

    project: str
    inner: str  # whose shards it is trained and tested on
    variant: str
    seed: int
    fold: int
    folds: int
    metrics: tuple[str, ...]
    recipe: str  # YAML
    work: str  # a hash of all that decides its figures
    keep: bool

    @property
    def name(self) -> str:
        seed = "" if self.variant == BASE else f"-s{self.seed}"
        return f"{self.variant}{seed}" + (f"-f{self.fold}" if self.folds else "")

    @property
    def file(self) -> Path:
        return Path(self.project, "ablation", "cells", f"{self.name}.json")

    @property
    def folder(self) -> Path:
        """Where it is trained."""
        return Path(self.project, "cache", "ablation", f"{self.name}-{self.work[:8]}")

    @cached_property
    def found(self) -> dict[str, Any] | None:
        """What it measured; None where it is not done, was other work, or its files are not what was written."""
        try:
            about = json.loads(self.file.read_text(encoding="utf-8"))
            items = self.file.with_suffix(".safetensors")
            if about["work"] != self.work or file_digest(items) != about["items"]:
                return None
            return about | {"measured": read_measured(items, about["measured"])}
        except (OSError, ValueError, KeyError, TypeError):
            return None


# ---------------------------------------------------------------- the grid


def ablate(
    project: Project,
    variants: Mapping[str, Recipe],
    seeds: Sequence[int],
    folds: int = 0,
    *,
    jobs: int = 1,
    keep: bool = False,
    on_progress: Progress | None = None,
) -> Receipt:
    """Trains and measures every recipe with every seed in every fold, `jobs` at a time, and writes `ablation/`.

    Without folds the project's own splits are used. Raises UsageError for recipes that are no fair comparison, and as
    the stages do; after an Interrupted the same call goes on where it was.
    """
    # What we read.
    prepared = project.receipt("shards", command="unidiff prepare CATALOG")
    # What we refuse.
    refuse_unlike(variants, seeds)
    first = next(iter(variants.values()))
    inners = divided(project, first, folds) if folds else [project]
    metrics, left_out = _metrics(project, first, inners, bool(folds))
    cells = _cells(project, variants, seeds, inners, folds, metrics, keep)
    # Do.
    started = time.monotonic()
    waiting = [cell for cell in cells if cell.found is None]
    told = _teller(len(cells), len(waiting), on_progress)
    _work([c for c in waiting if c.variant == BASE], jobs, told, on_progress)  # all others look its up
    _work([c for c in waiting if c.variant != BASE], jobs, told, on_progress)
    cells = [Cell(**asdict(cell)) for cell in cells]  # which read their files again
    if lost := [cell.name for cell in cells if cell.found is None]:
        raise WorkError(f"The figures of {lost[0]} cannot be read back.", "Run the same command again.")
    settings = {
        "recipes": {name: r.section(*TRAINED) for name, r in variants.items()},
        **settings_of(first, metrics), "against": next(iter(variants)), "seeds": list(seeds), "folds": folds, "weights": bases.stamp(first.base),
    }  # fmt: skip
    inputs = {"shards": prepared.hash}
    room = project.room("ablation")
    done = Receipt.read(room)
    if done and done.same_work(settings, inputs) and not waiting:
        return done
    with project.lock(existing=True):
        receipt = Receipt("ablate", settings, inputs, first.evaluate.seed)
        receipt.counts = {"recipes": len(variants), "seeds": len(seeds), "folds": folds, "cells": len(cells)}
        found = summarised(_by_model(cells), {k: f for m in metrics.values() for k, f in m.figures.items()})
        found |= {"counts": receipt.counts, "steps": first.train.steps, "batch_size": first.train.batch_size}
        found |= {"left_out": left_out, "versions": versions(), "recipes": settings["recipes"]}
        found |= {"curves": _curves(cells), "split": f"{folds} folds" if folds else first.evaluate.split}
        receipt.figures = {
            name: {key: value["mean"] for key, value in each.items()}
            for name, each in found["figures"].items()
        }
        (room / "receipt.json").unlink(missing_ok=True)
        write_tables(room, found)
        close(room, receipt, time.monotonic() - started)
    return receipt


def refuse_unlike(variants: Mapping[str, Recipe], seeds: Sequence[int]) -> None:
    """Raises UsageError where a difference of figures would not be one of recipes."""
    if not variants or not seeds or len(set(seeds)) < len(seeds):
        raise UsageError(
            "ablate needs a recipe and seeds that differ.", "As in: --recipes joint,fashion --seeds 0,1,2"
        )
    if BASE in variants:
        raise UsageError(f"A recipe named '{BASE}' would be taken for the base.", "Rename its file.")
    (name, first), *others = variants.items()
    for other, recipe in others:
        mine, theirs = (
            {k: r.section(k)[k] for k in ALIKE} | {f"train.{k}": getattr(r.train, k) for k in ("steps", "batch_size", "no_duplicates")}
            for r in (first, recipe)
        )  # fmt: skip
        if unlike := [key for key in mine if mine[key] != theirs[key]]:
            key = unlike[0]
            raise UsageError(
                f"{name} and {other} differ in {key} ({mine[key]} and {theirs[key]}), which an ablation keeps equal.",
                f"Say it for all, as in: --set {key}=VALUE",
            )


def _metrics(
    project: Project, recipe: Recipe, inners: Sequence[Project], folds: bool
) -> tuple[dict[str, Any], dict[str, str]]:
    """The recipe's metrics, or of METRICS what the catalogue allows; and why others were left out."""
    cache, split = project.room("cache", "evaluate"), "test" if folds else ""
    metrics, left_out = chosen([held_out(p, recipe, cache, i, split) for i, p in enumerate(inners)])
    asked = recipe.evaluate.metrics or METRICS
    return {n: metrics[n] for n in asked if n in metrics}, {n: w for n, w in left_out.items() if n in asked}


def _cells(
    project: Project,
    variants: Mapping[str, Recipe],
    seeds: Sequence[int],
    inners: Sequence[Project],
    folds: int,
    metrics: Mapping[str, Any],
    keep: bool,
) -> list[Cell]:
    """The base once a fold, then every recipe: seed by seed, so that a first seed is whole early."""
    first = next(iter(variants.values()))
    weights = bases.stamp(first.base)
    grid = [(BASE, 0, first)]
    for seed in seeds:
        for name, recipe in variants.items():
            grid.append(
                (
                    name,
                    seed,
                    recipe.model_copy(update={"train": recipe.train.model_copy(update={"seed": seed})}),
                )
            )
    found = []
    for name, seed, recipe in grid:
        trains = recipe.section("base", "image_size") if name == BASE else recipe.deciding()
        same = [trains, settings_of(recipe, metrics), weights, __version__, folds]
        for fold, inner in enumerate(inners):
            work = digest([*same, fold, inner.receipt("shards").hash])
            found.append(Cell(
                str(project.root), str(inner.root), name, seed, fold, folds, tuple(metrics), recipe.yaml(), work, keep
            ))  # fmt: skip
    return found


def _by_model(cells: Sequence[Cell]) -> dict[str, dict[int, list[dict[str, Any]]]]:
    """Model -> seed -> what each fold's cell found."""
    models: dict[str, dict[int, list[dict[str, Any]]]] = {}
    for cell in cells:
        assert cell.found
        models.setdefault(cell.variant, {}).setdefault(cell.seed, []).append(cell.found)
    return models


def _curves(cells: Sequence[Cell]) -> dict[str, list[dict[str, Any]]]:
    """Model -> the validations of each of its cells."""
    found: dict[str, list[dict[str, Any]]] = {}
    for cell in cells:
        if cell.variant != BASE and cell.found:
            found.setdefault(cell.variant, []).append(
                {"cell": cell.name, "validation": cell.found["validation"]}
            )
    return found


# ---------------------------------------------------------------- the work


def _teller(cells: int, waiting: int, on_progress: Progress | None) -> Callable[[], None]:
    """Tells of one more cell done, and how long the others will take."""
    started, done = time.monotonic(), 0

    def told() -> None:
        nonlocal done
        done += 1
        left = (time.monotonic() - started) / done * (waiting - done)
        if on_progress:
            on_progress("cells", cells - waiting + done, cells, f"{left / 60:.0f} min left")

    if on_progress:
        on_progress("cells", cells - waiting, cells)
    return told


def _work(waiting: Sequence[Cell], jobs: int, told: Callable[[], None], on_progress: Progress | None) -> None:
    """Does the cells, here or in processes."""
    if jobs > 1:
        _processes(waiting, jobs, told)
        return
    for cell in waiting:
        work(cell, under(cell.name, on_progress))
        told()


def work(cell: Cell, on_progress: Progress | None = None) -> None:
    """Trains and measures one cell and keeps its figures."""
    inner = Project(cell.folder)
    inner.create()
    for room, of in (
        ("shards", Project(cell.inner).room("shards")),
        ("cache", Project(cell.project).room("cache")),
    ):
        of.mkdir(exist_ok=True)
        if not inner.room(room).exists():
            inner.room(room).symlink_to(of, target_is_directory=True)
    (cell.folder / "recipe.yaml").write_text(cell.recipe, encoding="utf-8")
    recipe = recipes.load(cell.folder / "recipe.yaml")
    held = held_out(inner, recipe, inner.room("cache", "evaluate"), cell.fold, "test" if cell.folds else "")
    metrics = {name: plugins.load("metrics", name)() for name in cell.metrics}
    about: dict[str, Any] = {"cell": cell.name, "work": cell.work, "validation": [], "training": {}}
    if cell.variant == BASE:
        evidence = Evidence(_base(recipe), held, None, on_progress)
    else:
        run = trained(inner, recipe, on_progress)
        export(inner, run)
        tuned = replace(subject_of(inner, run, cell.variant), by=finder(recipe))
        about |= _training(inner, run)
        evidence = Evidence(tuned, held, Evidence(base_of(tuned), held, None, on_progress), on_progress)
    measured = measured_of(evidence, metrics)
    cell.file.parent.mkdir(parents=True, exist_ok=True)
    items = cell.file.with_suffix(".safetensors")
    about["measured"] = write_measured(items, measured)
    about |= {"items": file_digest(items), "weights": evidence.subject.stamp, "versions": versions()}
    write_json(cell.file, about)
    if cell.keep and cell.variant != BASE:
        shutil.rmtree(inner.room("runs"))
    else:
        shutil.rmtree(cell.folder)


def finder(recipe: Recipe) -> By:
    """What finds with a recipe's model: CLIP, or DiffDis where that is all the recipe teaches to find."""
    reads = {name for objective in recipe.active().values() for name in objective.reads}
    return "diffdis" if "dual_stream" in reads and "image_embeds" not in reads else "clip"


def _base(recipe: Recipe) -> Any:
    return Subject(BASE, recipe.base, recipe.base, recipe.image_size, bases.stamp(recipe.base))


def _training(inner: Project, run: str) -> dict[str, Any]:
    """What a run says of itself: the seconds of its steps, however often it was stopped, and its validations."""
    lines = log.read(inner.room("runs", run))
    checked = [{"step": line["step"], **line["validation"]} for line in lines if "validation" in line]
    best = inner.receipt("runs", run).figures["best"]
    seconds = sum(line["seconds"] for line in lines if "loss" in line)
    return {"validation": checked, "training": {"seconds": seconds, "best": best.get("step")}}


def _processes(waiting: Sequence[Cell], jobs: int, told: Callable[[], None]) -> None:
    """Each cell in a process with its share of the cores. A signal or a failure stops all of them, whole."""
    env = {**os.environ, "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs))}
    line, running, done, sent = list(waiting), dict[Cell, subprocess.Popen[bytes]](), 0, False
    failed: UnidiffError | None = None
    with interruptions() as stopped:
        try:
            while running or (line and not stopped() and not failed):
                while line and len(running) < jobs and not stopped() and not failed:
                    cell = line.pop(0)
                    running[cell] = _start(cell, env)
                if (stopped() or failed) and not sent:
                    for process in running.values():
                        process.terminate()
                    sent = True
                for cell, process in [(c, p) for c, p in running.items() if p.poll() is not None]:
                    del running[cell]
                    if process.returncode == 0:
                        done += 1
                        told()
                    elif not sent:
                        output = cell.folder / "output.log"
                        failed = left(cell.folder) or WorkError(f"The cell {cell.name} ended with {process.returncode}.", f"Its output: {output}")  # fmt: skip
                time.sleep(0.1)
        finally:
            for process in running.values():  # our own error: no process of ours outlives this one
                process.kill()
                process.wait()
        if stopped():
            raise Interrupted(
                stopped(), f"Stopped with {done} cells done now.", "Continue with the same command."
            )
    if failed:
        raise failed


def _start(cell: Cell, env: dict[str, str]) -> subprocess.Popen[bytes]:
    cell.folder.mkdir(parents=True, exist_ok=True)
    write_json(cell.folder / "cell.json", asdict(cell))
    command = [sys.executable, "-m", "unidiff_cli.ablate", str(cell.folder)]
    with open(cell.folder / "output.log", "ab") as output:
        return subprocess.Popen(command, env=env, stdout=output, stderr=output, start_new_session=True)


def _process(folder: Path) -> int:
    """What a cell's process runs; its error is left for the one that started it."""
    about = json.loads((folder / "cell.json").read_text(encoding="utf-8"))
    try:
        work(Cell(**{**about, "metrics": tuple(about["metrics"])}))
    except UnidiffError as problem:
        leave(folder, problem)
        return problem.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(_process(Path(sys.argv[1])))
