"""TODO docstring."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from unidiff_cli import machine, registry
from unidiff_cli.config.load import read_recipe
from unidiff_cli.config.schema import Recipe
from unidiff_cli.errors import Interrupted, UnidiffError, WorkError
from unidiff_cli.evaluation.measure import (
    base_of,
    measured_of,
    subject_of,
    under,
)
from unidiff_cli.evaluation.model_under_test import ModelUnderTest
from unidiff_cli.evaluation.outputs import ModelOutputs
from unidiff_cli.evaluation.results_file import read_measured, write_measured
from unidiff_cli.experiments.cross_validation import held_out, trained
from unidiff_cli.exporters.export import export
from unidiff_cli.models import sources
from unidiff_cli.models.encoders import CLIP, EncoderName
from unidiff_cli.objectives import trained_encoder
from unidiff_cli.project import run_log
from unidiff_cli.project.files import file_digest, write_json
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import versions
from unidiff_cli.training.launch import interruptions, leave, left

BASE = "base"  # the variant that is measured and not trained
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


def _work(
    waiting: Sequence[Cell], jobs: int, told: Callable[[], None], on_progress: Progress | None
) -> None:
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
        ("shards", Project(cell.inner).path("shards")),
        ("cache", Project(cell.project).path("cache")),
    ):
        of.mkdir(exist_ok=True)
        if not inner.path(room).exists():
            inner.path(room).symlink_to(of, target_is_directory=True)
    (cell.folder / "recipe.yaml").write_text(cell.recipe, encoding="utf-8")
    recipe = read_recipe(cell.folder / "recipe.yaml")
    eval_set = held_out(
        inner, recipe, inner.path("cache", "evaluate"), cell.fold, "test" if cell.folds else ""
    )
    metrics = {name: registry.load("metrics", name)() for name in cell.metrics}
    about: dict[str, Any] = {"cell": cell.name, "work": cell.work, "validation": [], "training": {}}
    if cell.variant == BASE:
        outputs = ModelOutputs(_base(recipe), eval_set, None, on_progress)
    else:
        run = trained(inner, recipe, on_progress)
        export(inner, run)
        tuned = replace(subject_of(inner, run, cell.variant), encoder=finder(recipe))
        about |= _training(inner, run)
        outputs = ModelOutputs(
            tuned, eval_set, ModelOutputs(base_of(tuned), eval_set, None, on_progress), on_progress
        )
    measured = measured_of(outputs, metrics)
    cell.file.parent.mkdir(parents=True, exist_ok=True)
    items = cell.file.with_suffix(".safetensors")
    about["measured"] = write_measured(items, measured)
    about |= {
        "items": file_digest(items),
        "weights": outputs.subject.model_hash,
        "versions": versions(),
    }
    write_json(cell.file, about)
    if cell.keep and cell.variant != BASE:
        shutil.rmtree(inner.path("runs"))
    else:
        shutil.rmtree(cell.folder)


def finder(recipe: Recipe) -> EncoderName:
    """What finds with a recipe's model: CLIP, or DiffDis where that is all the recipe teaches to find."""
    return trained_encoder(recipe.active().values()) or CLIP


def _base(recipe: Recipe) -> Any:
    return ModelUnderTest(
        BASE, recipe.base, recipe.base, recipe.image_size, sources.files_hash(recipe.base)
    )


def _training(inner: Project, run: str) -> dict[str, Any]:
    """What a run says of itself: the seconds of its steps, however often it was stopped, and its validations."""
    lines = run_log.read(inner.path("runs", run))
    checked = [
        {"step": line["step"], **line["validation"]} for line in lines if "validation" in line
    ]
    best = inner.receipt("runs", run).figures["best"]
    seconds = sum(line["seconds"] for line in lines if "loss" in line)
    return {"validation": checked, "training": {"seconds": seconds, "best": best.get("step")}}


def _processes(waiting: Sequence[Cell], jobs: int, told: Callable[[], None]) -> None:
    """Each cell in a process with its share of the cores. A signal or a failure stops all of them, whole."""
    env = {**os.environ, "OMP_NUM_THREADS": str(max(1, machine.cores() // jobs))}
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
    command = [sys.executable, "-m", "unidiff_cli.experiments.ablation", str(cell.folder)]
    with open(cell.folder / "output.log", "ab") as output:
        return subprocess.Popen(
            command, env=env, stdout=output, stderr=output, start_new_session=True
        )


def _process(folder: Path) -> int:
    """What a cell's process runs; its error is left for the one that started it."""
    about = json.loads((folder / "cell.json").read_text(encoding="utf-8"))
    try:
        work(Cell(**{**about, "metrics": tuple(about["metrics"])}))
    except UnidiffError as problem:
        leave(folder, problem)
        return problem.exit_code
    return 0
