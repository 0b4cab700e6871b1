"""TODO docstring."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from unidiff_cli import machine
from unidiff_cli.config.schema import Recipe
from unidiff_cli.data.dataset import BatchPlan, PriorDataset, Samples, loader
from unidiff_cli.data.shards import Row, Shards
from unidiff_cli.data.streaming import StreamedSamples
from unidiff_cli.errors import Interrupted, UnidiffError, WorkError
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt, close
from unidiff_cli.training.launch import interruptions, leave
from unidiff_cli.training.module import TrainingModule, combined_needs
from unidiff_cli.training.run import Run
from unidiff_cli.training.trainer import Trainer

if TYPE_CHECKING:
    from accelerate import Accelerator

    from unidiff_cli.models.families.stable_diffusion import StableDiffusion as Base

from unidiff_cli.config.load import read_recipe
from unidiff_cli.models import loading
from unidiff_cli.training import precompute
from unidiff_cli.training.provenance import BEGAN, _settings

MOST_VALIDATED = 512  # held-out samples a validation looks at, spread over the split
COLLAPSED = 1000  # in the place of a signal's number: a collapse meter ends the run
say = logging.getLogger("unidiff")
OnStep = Callable[[dict[str, Any]], None]
Progress = Callable[[str, int, int], None]


def _general(
    project: Project, recipe: Recipe, base: Base, weights: str, on_progress: Progress | None = None
) -> PriorDataset | None:
    """The prior's captions and images, drawn here where they are not there yet; None without that objective."""
    if not (prior := recipe.active().get("prior")):
        return None
    base.to(machine.device())
    captions = prior.read()
    files = precompute.generate_prior(
        project, base, weights, captions, recipe.generate, on_progress
    )
    return PriorDataset(captions, files, prior.every, recipe.train.seed)


def _rows(shards: Shards, split: str) -> list[Row]:
    """The rows a run reads of a split: all to train on, evenly spaced ones to validate with."""
    rows = shards.rows(split)
    return rows if split == "train" else rows[:: -(-len(rows) // MOST_VALIDATED) or 1]


def warn(line: dict[str, Any]) -> None:
    """Says which collapse meters tripped at a validation's line of the log."""
    for said in line.get("tripped", ()):
        say.warning(
            f"Step {line['step']}, {said}. Lower train.lr, or keep more of the base: --set objectives.anchor.weight=1"
        )


# ---------------------------------------------------------------- the work, on every process


def work(
    project: Project,
    name: str,
    *,
    base: Base | None = None,
    world: int = 1,
    on_step: OnStep | None = None,
) -> None:
    """Trains the run `name`, whose recipe.yaml is written, from its newest checkpoint to its receipt.

    Every process of `world` calls it; the main one writes. Raises Interrupted once the checkpoint is saved.
    """
    folder = project.path("runs", name)
    recipe = read_recipe(folder / "recipe.yaml")
    began = json.loads((folder / BEGAN).read_text(encoding="utf-8"))
    shards = began.pop("shards")
    receipt = Receipt("train", _settings(recipe, began), {"shards": shards}, recipe.train.seed)
    accelerator = _accelerator(recipe, folder)
    try:
        if accelerator.num_processes != world:
            raise WorkError(
                f"{world} processes were asked for and {accelerator.num_processes} started."
            )
        torch.manual_seed(recipe.train.seed)
        base = base or loading.load_base(recipe.base, recipe.image_size)
        options = recipe.train
        joint = TrainingModule(
            base, recipe.active(), options.seed, options.chunk, cached=options.cache_latents
        )
        fit = Trainer(accelerator, joint, options)
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
            receipt.counts, receipt.figures = (
                {"steps": recipe.train.steps, **counts},
                {"best": run.best},
            )
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
                    if (
                        accelerator.num_processes == 1
                    ):  # else the process that launched these says it
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

    asked = recipe.train.precision
    bf16 = asked == "bf16" or (asked == "auto" and machine.bf16_supported())
    # Without these a projection, a tower, half the UNet or the temperature gets no gradient.
    partly = not {"contrastive", "denoise"} <= recipe.active().keys()
    accelerator = Accelerator(
        mixed_precision="bf16" if bf16 else "no",
        cpu=machine.device().type == "cpu",
        log_with="tensorboard",
        project_config=ProjectConfiguration(project_dir=str(run), logging_dir=str(run)),
        kwargs_handlers=[
            DistributedDataParallelKwargs(find_unused_parameters=partly),
            InitProcessGroupKwargs(
                timeout=timedelta(hours=2)
            ),  # the others wait while one validates
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
    prior: PriorDataset | None,
) -> Samples | None:
    """The split as Samples: this process's share, shuffled, or in order and whole where `accelerator` is None."""
    shards = Shards.open(project.path("shards"))
    rows = _rows(shards, split)
    if not rows:
        return None
    asked = combined_needs(recipe.active())
    images: dict[str, Any] = {}
    if recipe.train.cache_latents:
        images["cached"] = precompute.fill_cache(project, base, shards, shards_hash, rows, asked)
    else:
        wanted = {"clip_pixels": asked.pixels, "diffusion_pixels": asked.latents}
        images["transforms"] = {k: v for k, v in base.transforms().items() if wanted[k]}
    options = recipe.train
    if accelerator:
        order = "distinct" if options.no_duplicates else "shuffled"
        rank, world = accelerator.process_index, accelerator.num_processes
        plan = BatchPlan(
            options.batch_size, options.seed, order, options.denoise_batch, rank, world
        )
    else:
        # The denoiser sees all that is held out; a lone sample would not be looked at.
        size = max(2, options.denoise_batch or options.batch_size)
        plan = BatchPlan(size, options.seed, "listed")
    kind = StreamedSamples if accelerator and options.streaming else Samples
    return kind(shards, rows, plan, prior=prior, **images)


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
        leave(project.path("runs", name), problem)
        return problem.exit_code
    return 0
