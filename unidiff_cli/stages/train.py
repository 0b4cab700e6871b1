"""train: shards + a recipe + a base → runs/<id>/, whose best averaged weights export takes.

`train` opens the run and works in this process, or launches one process a device that each run `work`.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .. import bases, cache, log
from .. import recipe as recipes
from ..batches import General, Samples, loader
from ..errors import Interrupted, NotReady, UnidiffError, UsageError, WorkError, nearest
from ..fit import Fit, Joint, needs
from ..launch import interruptions, launch, leave
from ..project import Project, Receipt, close, digest, write_json
from ..recipe import Recipe
from ..run import Run, rewind
from ..shards import Row, Shards

if TYPE_CHECKING:
    from accelerate import Accelerator

    from ..bases.stable_diffusion import StableDiffusion as Base

BEGAN = "began.json"  # in a run's folder: the hashes of what it began with
CHANGES = {"shards": "the shards", "weights": "the base's weights", "captions": "the prior's captions"}
MOST_VALIDATED = 512  # held-out samples a validation looks at, spread over the split
COLLAPSED = 1000  # in the place of a signal's number: a collapse meter ends the run
say = logging.getLogger("unidiff")
OnStep = Callable[[dict[str, Any]], None]
Progress = Callable[[str, int, int], None]


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
        prepared = project.receipt("shards", command="unidiff prepare CATALOG")
        inputs = {"shards": prepared.hash}
        if resume:
            name, recipe = _resumed(project, resume, inputs)
        else:
            if (done := _same(project, recipe, inputs)) and not force:
                return done
            name = project.next_run(recipe.name)
        run = project.room("runs", name)
        if receipt := Receipt.read(run):
            return name, receipt
        # What we refuse.
        count = recipe.train.processes or max(1, torch.cuda.device_count())
        _refuse(project, recipe, count)
        base = bases.load(recipe.base, recipe.image_size)
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
            if torch.cuda.is_available():
                torch.cuda.empty_cache()  # what the cache was made with would be missing on the first card
            watch = _Watch(run, on_step)
            launch("unidiff_cli.stages.train", [str(project.root), name, str(count)], count, run, watch)
        return name, project.receipt("runs", name, command="unidiff train --resume")


def _began(recipe: Recipe) -> dict[str, str]:
    """What a run begins with beside the shards: hashes of the base's weights and of the prior's captions. Raises UsageError."""
    prior = recipe.active().get("prior")
    return {"weights": bases.stamp(recipe.base)} | ({"captions": digest(prior.read())} if prior else {})


def _settings(recipe: Recipe, began: dict[str, str]) -> dict[str, Any]:
    """What decides a run's weights, and how its prior's pictures were drawn."""
    how = recipe.generate
    drawn = {"prior": [how.steps, how.guidance]} if "prior" in recipe.active() else {}
    return {**recipe.deciding(), **drawn, **began}


def _same(project: Project, recipe: Recipe, inputs: dict[str, str]) -> tuple[str, Receipt] | None:
    """The newest finished run of this very work."""
    settings = _settings(recipe, _began(recipe))
    for name in reversed(project.runs()):
        receipt = Receipt.read(project.room("runs", name))
        if receipt and receipt.same_work(settings, inputs):
            return name, receipt
    return None


def _resumed(project: Project, resume: str | bool, inputs: dict[str, str]) -> tuple[str, Recipe]:
    """The run to continue and the recipe it began with. Raises NotReady where it began with other inputs."""
    runs = project.runs()
    if not runs:
        raise NotReady(f"{project.root.name} has no run to resume.", "Run: unidiff train")
    name = runs[-1] if resume is True else str(resume)
    if name not in runs:
        raise NotReady(f"There is no run '{name}'.{nearest(name, runs)}", f"Runs: {', '.join(runs)}.")
    file = project.room("runs", name, "recipe.yaml")
    if not file.is_file():
        raise NotReady(f"Run {name} has no recipe.yaml, so it never began.", "Run: unidiff train")
    recipe = recipes.load(file)
    began = json.loads((file.parent / BEGAN).read_text(encoding="utf-8"))
    now = {**inputs, **_began(recipe)}
    if changed := [what for what in now if began.get(what) != now[what]]:
        what = " and ".join(CHANGES[c] for c in changed)
        raise NotReady(f"{what[0].upper()}{what[1:]} changed since run {name} began.", "Run: unidiff train")
    rewind(file.parent)
    return name, recipe


def _refuse(project: Project, recipe: Recipe, count: int) -> None:
    rows = len(Shards.open(project.room("shards")).rows("train"))
    if rows < 2:
        raise WorkError(
            f"The training split holds {rows} pictures.", "Add pictures, or change prepare.splits."
        )
    active = recipe.active()
    if recipe.train.best_by == "recall" and not needs(active).pixels and "text_diffusion" not in active:
        raise UsageError("train.best_by is recall, and no objective learns to find.", "Use best_by: denoise.")
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
    base.to("cuda" if torch.cuda.is_available() else "cpu")
    shards = Shards.open(project.room("shards"))
    for split in ("train", "val"):
        if rows := _rows(shards, split):
            cache.fill(project, base, shards, shards_hash, rows, needs(recipe.active()), on_progress)


def _general(
    project: Project, recipe: Recipe, base: Base, weights: str, on_progress: Progress | None = None
) -> General | None:
    """The prior's captions and pictures, drawn here where they are not there yet; None without that objective."""
    if not (prior := recipe.active().get("prior")):
        return None
    base.to("cuda" if torch.cuda.is_available() else "cpu")
    captions = prior.read()
    files = cache.general(project, base, weights, captions, recipe.generate, on_progress)
    return General(captions, files, prior.every, recipe.train.seed)


def _rows(shards: Shards, split: str) -> list[Row]:
    """The rows a run reads of a split: all to train on, evenly spaced ones to validate with."""
    rows = shards.rows(split)
    return rows if split == "train" else rows[:: -(-len(rows) // MOST_VALIDATED) or 1]


class _Watch:
    """Passes the lines launched processes log on to `on_step`, reading only what is new."""

    def __init__(self, run: Path, on_step: OnStep | None) -> None:
        self.run, self.on_step = run, on_step
        self.read, _ = log.tail(run, 0)

    def __call__(self) -> None:
        self.read, lines = log.tail(self.run, self.read)
        for line in lines:
            warn(line)
            if self.on_step and "loss" in line:
                self.on_step(line)


def warn(line: dict[str, Any]) -> None:
    """Says which collapse meters tripped at a validation's line of the log."""
    for said in line.get("tripped", ()):
        say.warning(
            f"Step {line['step']}, {said}. Lower train.lr, or keep more of the base: --set objectives.anchor.weight=1"
        )


# ---------------------------------------------------------------- the work, on every process


def work(
    project: Project, name: str, *, base: Base | None = None, world: int = 1, on_step: OnStep | None = None
) -> None:
    """Trains the run `name`, whose recipe.yaml is written, from its newest checkpoint to its receipt.

    Every process of `world` calls it; the main one writes. Raises Interrupted once the checkpoint is saved.
    """
    folder = project.room("runs", name)
    recipe = recipes.load(folder / "recipe.yaml")
    began = json.loads((folder / BEGAN).read_text(encoding="utf-8"))
    shards = began.pop("shards")
    receipt = Receipt("train", _settings(recipe, began), {"shards": shards}, recipe.train.seed)
    accelerator = _accelerator(recipe, folder)
    try:
        if accelerator.num_processes != world:
            raise WorkError(f"{world} processes were asked for and {accelerator.num_processes} started.")
        torch.manual_seed(recipe.train.seed)
        base = base or bases.load(recipe.base, recipe.image_size)
        options = recipe.train
        joint = Joint(base, recipe.active(), options.seed, options.chunk, cached=options.cache_latents)
        fit = Fit(accelerator, joint, options)
        prior = _general(project, recipe, base, began["weights"])
        training = _samples(project, recipe, base, shards, "train", accelerator, prior)
        held_out = _samples(project, recipe, base, shards, "val", None, prior)
        assert training is not None
        run, started = Run(folder, recipe, fit, held_out), time.monotonic()
        if accelerator.is_main_process:
            run.begin()
        run.restore()
        _loop(run, training, on_step)
        if accelerator.is_main_process:
            counts = {"train": len(training.rows), "val": len(held_out.rows) if held_out else 0}
            receipt.counts, receipt.figures = {"steps": recipe.train.steps, **counts}, {"best": run.best}
            close(folder, receipt, time.monotonic() - started)
    finally:
        _end(accelerator)


def _loop(run: Run, training: Samples, on_step: OnStep | None) -> None:
    """All remaining steps, and between them what the run logs, measures and keeps."""
    fit, options = run.fit, run.recipe.train
    accelerator = fit.accelerator
    with interruptions() as stopped:
        for step in fit.steps(loader(training, range(fit.done, options.steps), options.workers)):
            last, tripped = step.number == options.steps, []
            if accelerator.is_main_process:
                line = run.record(step)
                if on_step:
                    on_step(line)
                if last or step.number % options.validate_every == 0:
                    tripped = run.validate()
                    if accelerator.num_processes == 1:  # else the process that launched these says it
                        warn({"step": step.number, "tripped": tripped})
                if last or (options.preview_every and step.number % options.preview_every == 0):
                    run.preview(training)
            collapsed = tripped and options.stop_on_collapse
            signum = _agreed(accelerator, COLLAPSED if collapsed else stopped())
            if signum or last or step.number % options.checkpoint_every == 0:
                if accelerator.is_main_process:
                    run.save()
                accelerator.wait_for_everyone()
            if signum == COLLAPSED:
                fact = f"Stopped at step {step.number}: a collapse meter tripped (train.stop_on_collapse); its checkpoint is saved."
                raise WorkError(
                    fact,
                    "Go on nonetheless with: unidiff train --resume; or begin again with lower train.lr.",
                )
            if signum:
                fact = f"Stopped at step {step.number}; its checkpoint is saved."
                raise Interrupted(signum, fact, "Continue with: unidiff train --resume")


def _accelerator(recipe: Recipe, run: Path) -> Accelerator:
    from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
    from accelerate.utils import ProjectConfiguration

    cuda, asked = torch.cuda.is_available(), recipe.train.precision
    bf16 = asked == "bf16" or (
        asked == "auto" and cuda and torch.cuda.is_bf16_supported(including_emulation=False)
    )
    # Without these a projection, a tower, half the UNet or the temperature gets no gradient.
    partly = not {"contrastive", "denoise"} <= recipe.active().keys()
    accelerator = Accelerator(
        mixed_precision="bf16" if bf16 else "no",
        cpu=not cuda,
        log_with="tensorboard",
        project_config=ProjectConfiguration(project_dir=str(run), logging_dir=str(run)),
        kwargs_handlers=[
            DistributedDataParallelKwargs(find_unused_parameters=partly),
            InitProcessGroupKwargs(timeout=timedelta(hours=2)),  # the others wait while one validates
        ],
    )
    accelerator.init_trackers("tensorboard")
    return accelerator


def _end(accelerator: Accelerator) -> None:
    accelerator.end_training()
    if accelerator.num_processes == 1:
        from accelerate.state import AcceleratorState

        AcceleratorState._reset_state(
            reset_partial_state=True
        )  # a second run here may want another precision


def _samples(
    project: Project,
    recipe: Recipe,
    base: Base,
    shards_hash: str,
    split: str,
    accelerator: Accelerator | None,
    prior: General | None,
) -> Samples | None:
    """The split as Samples: this process's share, shuffled, or in order and whole where `accelerator` is None."""
    shards = Shards.open(project.room("shards"))
    rows = _rows(shards, split)
    if not rows:
        return None
    asked = needs(recipe.active())
    pictures: dict[str, Any] = {}
    if recipe.train.cache_latents:
        pictures["cached"] = cache.fill(project, base, shards, shards_hash, rows, asked)
    else:
        wanted = {"clip_pixels": asked.pixels, "draw_pixels": asked.latents}
        pictures["transforms"] = {k: v for k, v in base.transforms().items() if wanted[k]}
    whole, some = recipe.train.batch_size, recipe.train.denoise_batch
    place: dict[str, Any] = {
        "shuffle": False,
        "batch_size": max(2, some or whole),
    }  # the UNet sees all that is held out; a lone sample would not be looked at
    if accelerator:
        place = {"rank": accelerator.process_index, "world": accelerator.num_processes}
        place |= {"batch_size": whole, "denoise_batch": some, "no_duplicates": recipe.train.no_duplicates}
    return Samples(shards, rows, seed=recipe.train.seed, prior=prior, **pictures, **place)


def _agreed(accelerator: Accelerator, signum: int) -> int:
    """The signal any process caught, so that all stop at the same step."""
    if accelerator.num_processes == 1:
        return signum
    return int(accelerator.gather(torch.tensor([signum], device=accelerator.device)).max())


def _worker(root: str, name: str, world: int) -> int:
    """What one launched process runs; its error is left for the process that launched it."""
    project = Project(root)
    try:
        work(project, name, world=world)
    except UnidiffError as problem:
        leave(project.room("runs", name), problem)
        return problem.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(_worker(sys.argv[1], sys.argv[2], int(sys.argv[3])))
