"""What each process of a run does: the loop, and between its steps what is logged and saved.

`main` is one process of several.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import torch

from unidiff_cli import machine, signals
from unidiff_cli.config.train import Train
from unidiff_cli.data.dataset import Samples, loader
from unidiff_cli.data.rows import column_of
from unidiff_cli.errors import Interrupted, Stated, WorkError
from unidiff_cli.models import loading
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt, close
from unidiff_cli.training.assembly import trainer_of
from unidiff_cli.training.collapse_monitor import warn_of_collapse
from unidiff_cli.training.job import Job
from unidiff_cli.training.launch import OUTPUT
from unidiff_cli.training.optimizer import some_without_gradient
from unidiff_cli.training.place import WAIT, join, told_run
from unidiff_cli.training.precision import mixed_precision
from unidiff_cli.training.run import Run
from unidiff_cli.training.trackers import start_trackers

if TYPE_CHECKING:
    from accelerate import Accelerator

    from unidiff_cli.models.base import BaseModel

logger = logging.getLogger("unidiff")

OnStep = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Stop:
    """Why a run ends before its last step: a signal, a collapse meter, early stopping, or none."""

    signum: int = 0
    collapsed: bool = False
    enough: bool = False

    @property
    def now(self) -> bool:
        """Whether it ends unfinished. One that stopped early is finished."""
        return bool(self.signum) or self.collapsed

    def words(self, step: int, options: Train) -> str:
        """How the run ended at a step, for its page; "" where it goes on."""
        if self.now:
            return f"Stopped at step {step}. Continue with: unidiff train --resume"
        if self.enough:
            count = options.patience
            return (
                f"Ended early at step {step} of {options.total_steps}: {count} "
                f"validation{'s' if count > 1 else ''} brought no better weights (train.patience)."
            )
        return f"Finished after {step} steps." if step == options.total_steps else ""

    def error(self, step: int) -> Stated:
        """What is raised once the checkpoint of a step is saved."""
        if self.collapsed:
            return WorkError(
                f"Stopped at step {step}: a collapse meter tripped (train.stop_on_collapse); its "
                "checkpoint is saved.",
                "Go on nonetheless with: unidiff train --resume; or begin again with lower "
                "train.lr.",
            )
        return Interrupted(
            self.signum,
            f"Stopped at step {step}; its checkpoint is saved.",
            "Continue with: unidiff train --resume",
        )


def work(
    job: Job,
    *,
    base: BaseModel | None = None,
    world: int = 1,
    followed: bool = False,
    on_step: OnStep | None = None,
) -> None:
    """Trains a run from its newest checkpoint to its receipt.

    Every process of `world` calls it; the main one writes. `followed`: the process that started
    these says what the log warns of. Raises WorkError, and Interrupted once the checkpoint is
    saved.
    """
    recipe, options, started = job.recipe, job.recipe.train, time.monotonic()
    settings, inputs = job.provenance.settings(recipe), {"shards": job.provenance.shards}
    receipt = Receipt("train", settings, inputs, options.seed)
    accelerator = accelerator_for(job)
    main = accelerator.is_main_process
    try:
        if accelerator.num_processes != world:
            raise WorkError(
                f"{world} processes were asked for and {accelerator.num_processes} started."
            )
        torch.manual_seed(options.seed)
        base = base or loading.load_recipe_base(recipe)
        trainer = trainer_of(accelerator, base, recipe)
        trainer.module.text = job.stored_text(base)
        if sizes := job.bucket_counts(base):
            # Previews are of what most images look like.
            base.default_size = next(iter(sizes))
        training = job.training_samples(base, accelerator.process_index, world)
        held_out = job.held_out_samples(base)
        keep = partial(job.project.keep, "runs", job.name)
        run = Run(job.folder, recipe, trainer, held_out, keep)
        if main or trainer.sharded:
            run.begin()
        run.restore()
        if main:
            run.disk.refuse()
        _loop(run, training, held_out or training, followed, on_step)
    finally:
        _end(accelerator)
    # The trackers' files are whole now.
    if main:
        counts = {"train": len(training.rows), "val": len(held_out.rows) if held_out else 0}
        receipt.counts = {"steps": trainer.done, **counts}
        receipt.figures = {"best": asdict(run.best) if run.best.step else {}}
        receipt.figures |= job.figures(training, base)
        receipt.files, receipt.changing = run.records(), [OUTPUT]
        close(job.folder, receipt, time.monotonic() - started)
        keep()


def _loop(
    run: Run, training: Samples, shown: Samples, followed: bool, on_step: OnStep | None
) -> None:
    """All remaining steps. Previews are of the captions in `shown`."""
    trainer, options = run.trainer, run.recipe.train
    main = trainer.accelerator.is_main_process
    captions = [captions[0] for captions in column_of(shown.rows, "captions")]
    remaining = range(trainer.done, options.total_steps)
    batches = loader(training, remaining, options.workers)
    # Until the processes of the loader have started there is nothing that a signal has to save.
    first = list(islice(batches, 1))
    with signals.held() as caught:
        if run.unmeasured:
            _finish_step(run, captions, caught, followed)
        if run.enough:
            return
        for step in trainer.steps(chain(first, batches)):
            if main:
                line = run.record(step)
                if on_step:
                    on_step(line)
            if _finish_step(run, captions, caught, followed):
                return


def _finish_step(run: Run, captions: list[str], caught: Callable[[], int], followed: bool) -> bool:
    """Measures and saves where it is time; whether the run has ended early.

    Raises why it stops here unfinished, once that is saved.
    """
    options, number, tripped = run.recipe.train, run.trainer.done, list[str]()
    accelerator = run.trainer.accelerator
    if accelerator.is_main_process or run.trainer.sharded:
        tripped = run.measure(captions)
        if run.main:
            run.disk.watch()
        if run.main and not followed:
            warn_of_collapse({"step": number, "tripped": tripped}, run.recipe)
    collapsed = bool(tripped) and options.stop_on_collapse
    stop = _agreed(accelerator, Stop(caught(), collapsed, run.enough))
    words = stop.words(number, options)
    if words or number % options.checkpoint_every == 0:
        if accelerator.is_main_process or run.trainer.sharded:
            run.save()
        if run.main:
            run.show(words)
        accelerator.wait_for_everyone()
    if stop.now:
        raise stop.error(number)
    if stop.enough and run.main:
        run.end_early(words)
        if not followed:
            logger.info(words)
    return stop.enough


def _agreed(accelerator: Accelerator, stop: Stop) -> Stop:
    """The reason that any process has, so that all stop at the same step."""
    if accelerator.num_processes == 1:
        return stop
    flags = [stop.signum, int(stop.collapsed), int(stop.enough and accelerator.is_main_process)]
    reasons = torch.tensor([flags], device=accelerator.device)
    signum, collapsed, enough = accelerator.gather(reasons).max(dim=0).values.tolist()
    return Stop(signum, bool(collapsed), bool(enough))


def accelerator_for(job: Job) -> Accelerator:
    """This process's part of the machine, at the precision of the job, with its run's log."""
    from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs

    options = job.recipe.train
    unused = some_without_gradient(job.recipe.active().values(), options)
    accelerator = Accelerator(
        mixed_precision=mixed_precision(options),
        cpu=machine.device().type == "cpu",
        kwargs_handlers=[
            DistributedDataParallelKwargs(find_unused_parameters=unused),
            # The others wait while one validates.
            InitProcessGroupKwargs(timeout=WAIT),
        ],
    )
    start_trackers(accelerator, job)
    return accelerator


def _end(accelerator: Accelerator) -> None:
    from accelerate.state import AcceleratorState

    accelerator.end_training()
    # A second run in this process may want another precision.
    AcceleratorState._reset_state(reset_partial_state=True)


def main(root: str, name: str, world: str) -> None:
    """One launched process of a run."""
    work(Job.read(Project(root), name), world=int(world), followed=True)


def take_part(project: Project, world: int) -> None:
    """Takes part in the run that the first of a launcher's processes opens, of `world` in all.

    Returns at once where that has nothing to do. Raises as `work` does.
    """
    join()
    if name := told_run():
        work(Job.read(project, name), world=world, followed=True)
