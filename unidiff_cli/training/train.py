"""train: shards + a recipe + a base → runs/<id>/, whose best averaged weights export takes.

`train` opens the run and works in this process, or launches one process a device that each run `work`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from unidiff_cli import machine
from unidiff_cli.config.schema import Recipe
from unidiff_cli.data.shards import Shards
from unidiff_cli.errors import NotReady, UsageError, WorkError, nearest
from unidiff_cli.project.files import write_json
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt
from unidiff_cli.training.launch import launch
from unidiff_cli.training.module import combined_needs
from unidiff_cli.training.run import rewind

if TYPE_CHECKING:
    from unidiff_cli.models.families.stable_diffusion import StableDiffusion as Base

from unidiff_cli.config.load import read_recipe
from unidiff_cli.models import loading
from unidiff_cli.project import run_log
from unidiff_cli.training import precompute
from unidiff_cli.training.provenance import BEGAN, CHANGES, _began, _same
from unidiff_cli.training.worker import OnStep, Progress, _general, _rows, _worker, warn, work


def train(
    project: Project,
    recipe: Recipe,
    *,
    resume: str | bool = False,
    force: bool = False,
    on_step: OnStep | None = None,
    on_progress: Progress | None = None,
) -> tuple[str, Receipt]:
    """The run's name and its receipt. A finished run of the same work is returned as it is, unless `force`.

    `resume` continues the newest run, or the named one, with that run's own recipe; `on_step` gets each step's
    log line. Raises NotReady, UsageError, WorkError, EnvironmentProblem, and Interrupted after a checkpoint was saved.
    """
    with project.lock(existing=True):
        # What we read.
        prepared = project.receipt("shards")
        inputs = {"shards": prepared.hash}
        if resume:
            name, recipe = _resumed(project, resume, inputs)
        else:
            if (done := _same(project, recipe, inputs)) and not force:
                return done
            name = project.next_run(recipe.name)
        run = project.path("runs", name)
        if receipt := Receipt.read(run):
            return name, receipt
        # What we refuse.
        count = recipe.train.processes or max(1, torch.cuda.device_count())
        _refuse(project, recipe, count)
        base = loading.load_base(recipe.base, recipe.image_size)
        # Do.
        run.mkdir(parents=True, exist_ok=True)
        began = _began(recipe)
        write_json(run / BEGAN, {**inputs, **began})
        (run / "recipe.yaml").write_text(recipe.yaml(), encoding="utf-8")
        if recipe.train.cache_latents:
            _fill(project, recipe, base, prepared.hash, on_progress)
        _general(project, recipe, base, began["weights"], on_progress)
        if count == 1:
            work(project, name, base=base, on_step=on_step)
        else:
            del base
            # else what filled the cache would be missing on the first card
            torch.cuda.empty_cache()
            watch = LogFollower(run, on_step)
            launch(
                "unidiff_cli.training.train",
                [str(project.root), name, str(count)],
                count,
                run,
                watch,
            )
        return name, project.receipt("runs", name)


def _resumed(project: Project, resume: str | bool, inputs: dict[str, str]) -> tuple[str, Recipe]:
    """The run to continue and the recipe it began with. Raises NotReady where it began with other inputs."""
    runs = project.runs()
    if not runs:
        raise NotReady(f"{project.root.name} has no run to resume.", "Run: unidiff train")
    name = runs[-1] if resume is True else str(resume)
    if name not in runs:
        raise NotReady(
            f"There is no run '{name}'.{nearest(name, runs)}", f"Runs: {', '.join(runs)}."
        )
    file = project.path("runs", name, "recipe.yaml")
    if not file.is_file():
        raise NotReady(f"Run {name} has no recipe.yaml, so it never began.", "Run: unidiff train")
    recipe = read_recipe(file)
    began = json.loads((file.parent / BEGAN).read_text(encoding="utf-8"))
    now = {**inputs, **_began(recipe)}
    if changed := [what for what in now if began.get(what) != now[what]]:
        what = " and ".join(CHANGES[c] for c in changed)
        raise NotReady(
            f"{what[0].upper()}{what[1:]} changed since run {name} began.", "Run: unidiff train"
        )
    rewind(file.parent)
    return name, recipe


def _refuse(project: Project, recipe: Recipe, count: int) -> None:
    rows = len(Shards.open(project.path("shards")).rows("train"))
    if rows < 2:
        raise WorkError(
            f"The training split holds {rows} images.", "Add images, or change prepare.splits."
        )
    active = recipe.active()
    if (
        recipe.train.best_by == "recall"
        and not combined_needs(active).pixels
        and "text_diffusion" not in active
    ):
        raise UsageError(
            "train.best_by is recall, and no objective learns to find.", "Use best_by: denoise."
        )
    for key in ("batch_size", "denoise_batch"):
        if (size := getattr(recipe.train, key)) % count:
            raise UsageError(
                f"train.{key} {size} does not divide over {count} processes.",
                f"Take a multiple of {count}, or set train.processes.",
            )


def _fill(
    project: Project, recipe: Recipe, base: Base, shards_hash: str, on_progress: Progress | None
) -> None:
    """Caches what the run will read, before any process waits for another."""
    base.to(machine.device())
    shards = Shards.open(project.path("shards"))
    for split in ("train", "val"):
        if rows := _rows(shards, split):
            precompute.fill_cache(
                project,
                base,
                shards,
                shards_hash,
                rows,
                combined_needs(recipe.active()),
                on_progress,
            )


class LogFollower:
    """Passes the lines launched processes log on to `on_step`, reading only what is new."""

    def __init__(self, run: Path, on_step: OnStep | None) -> None:
        self.run, self.on_step = run, on_step
        self.read, _ = run_log.tail(run, 0)

    def __call__(self) -> None:
        self.read, lines = run_log.tail(self.run, self.read)
        for line in lines:
            warn(line)
            if self.on_step and "loss" in line:
                self.on_step(line)


if __name__ == "__main__":
    sys.exit(_worker(sys.argv[1], sys.argv[2], int(sys.argv[3])))
