"""A run's folder as its main process fills it: the log, checkpoints, previews, the best weights."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from unidiff_cli import machine, signals
from unidiff_cli.config.schema import Recipe
from unidiff_cli.data.dataset import Samples
from unidiff_cli.errors import Damaged, EnvironmentProblem, Interrupted
from unidiff_cli.models.guidance_file import guidance_in_force
from unidiff_cli.models.sampler import generate_images
from unidiff_cli.project import checkpoints, run_log
from unidiff_cli.project.receipt import FileRecord, record_of
from unidiff_cli.reports.contact_sheet import contact_sheet
from unidiff_cli.reports.run import RunState, write_page
from unidiff_cli.training.disk_watch import DiskWatch
from unidiff_cli.training.selection import Best, is_better, judging_figures, mean_recall
from unidiff_cli.training.trainer import PARTS, Step, Trainer
from unidiff_cli.training.validation import Validation

logger = logging.getLogger("unidiff")


class Run:
    """The folder of one run. Every process has one; only the main process writes."""

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        trainer: Trainer,
        held_out: Samples | None,
        keep: Callable[[], None],
    ) -> None:
        """`keep` stores the folder as it is, where there is a storage."""
        self._keep = keep
        self.folder, self.recipe, self.trainer = folder, recipe, trainer
        self.disk = DiskWatch(folder, trainer)
        self.best = Best()
        # Whether a signal broke off what was to be measured at this step.
        self.unmeasured = False
        # A lone image has no negative and no neighbour.
        enough = held_out is not None and len(held_out.rows) > 1
        self.validation = Validation(trainer.module, held_out) if held_out and enough else None

    # ------------------------------------------------------------ going on and stopping

    @property
    def main(self) -> bool:
        """Whether this is the process that writes."""
        return bool(self.trainer.accelerator.is_main_process)

    def begin(self) -> None:
        """Measures the base's collapse meters before the first step."""
        if self.validation is None:
            return
        with self.trainer.whole_weights(averaged=False):
            if not self.main:
                return
            self.validation.watch_collapse(self.folder)
        monitor = self.validation.monitor
        # By the log, and not by whether the base was measured before: a signal may have come
        # between the two.
        if monitor and not any(line.get("step") == 0 for line in run_log.read(self.folder)):
            run_log.append(self.folder, step=0, collapse=monitor.base_meters)

    def restore(self) -> None:
        """Loads the newest whole checkpoint, if there is one."""
        for checkpoint, state in checkpoints.latest(self.folder / "checkpoints"):
            if isinstance(state, dict):
                tensors = {part: checkpoints.tensors(checkpoint, part) for part in PARTS}
                self.trainer.load(tensors, state["step"])
                self.best = Best(**state["best"])
                self.trainer.shares.load(state.get("gradient_ratios", {}))
                self.trainer.module.halvings = state.get("halvings", 0)
                self.trainer.precision.load(state.get("loss_scale", {}))
                self.unmeasured = state.get("unmeasured", False)
                if self.validation and self.validation.monitor:
                    self.validation.monitor.tripped = state.get("tripped", [])
                return
        refuse_damaged(self.folder)

    def save(self) -> None:
        """Writes a checkpoint of this step and deletes the oldest."""
        step, tensors = self.trainer.done, self.trainer.tensors()
        if not self.main:
            return
        state: dict[str, Any] = {"step": step, "best": asdict(self.best)}
        if self.validation and self.validation.monitor:
            state["tripped"] = self.validation.monitor.tripped
        if self.trainer.shares.ratios:
            state["gradient_ratios"] = self.trainer.shares.ratios
        if halvings := self.trainer.module.halvings:
            state["halvings"] = halvings
        if scale := self.trainer.precision.state():
            state["loss_scale"] = scale
        if self.unmeasured:
            state["unmeasured"] = True
        folder = self.folder / "checkpoints"
        # A power loss leaves no checkpoint whose log ends before it.
        run_log.sync(self.folder)
        checkpoints.save(folder, checkpoints.step_name(step), tensors, state)
        checkpoints.prune(folder, self.recipe.train.keep_checkpoints)
        try:
            self._keep()
        # The run goes on: its next checkpoint brings what this one could not.
        except EnvironmentProblem as problem:
            logger.warning("%s The checkpoint of step %s is here alone.", problem.fact, step)

    def records(self) -> dict[str, FileRecord]:
        """The checkpoints' files for the run's receipt, by their hashes when they were written."""
        folder = self.folder / "checkpoints"
        hashes = checkpoints.digests(folder).items()
        return {f"checkpoints/{name}": record_of(folder / name, hash) for name, hash in hashes}

    def show(self, ended: str = "") -> None:
        """Writes the run's page. `ended` says in words how it ended."""
        options, terms = self.recipe.train, self.recipe.terms
        state = RunState(
            self.folder.name, terms, options.total_steps, self.best.step, ended, self.recipe.yaml()
        )
        write_page(self.folder, state)

    @property
    def enough(self) -> bool:
        """Whether so many validations brought no better weights that the run ends early."""
        options, best, done = self.recipe.train, self.best.step, self.trainer.done
        if not (options.patience and best) or done >= options.total_steps:
            return False
        return done - best >= options.patience * options.validate_every

    def end_early(self, words: str) -> None:
        """Keeps in the log why the run ended before its last step."""
        run_log.append(self.folder, step=self.trainer.done, ended=words)

    # ------------------------------------------------------------ measuring

    def record(self, step: Step) -> dict[str, Any]:
        """Logs a step, to log.jsonl and the trackers, and returns its line."""
        line = {
            "step": step.number,
            "loss": float(step.loss),
            **{name: float(value) for name, value in step.parts.items()},
            "grad_norm": float(step.norm),
            "lr": step.rate,
            "seconds": step.seconds,
            "samples_per_second": self.recipe.train.batch_size / step.seconds,
            "memory_mb": machine.memory_in_use() / 2**20,
        }
        run_log.append(self.folder, **line)
        figures = {name: value for name, value in line.items() if name != "step"}
        self.trainer.accelerator.log(figures, step=step.number)
        return line

    def measure(self, captions: Sequence[str]) -> list[str]:
        """Previews and validates where it is time: a sentence for each meter that tripped.

        The averaged weights are measured. A signal puts it off: a run that continues measures
        first. Previews are of `captions`.
        """
        options, step, tripped = self.recipe.train, self.trainer.done, list[str]()
        last = step == options.total_steps
        previews = last or (options.preview_every and step % options.preview_every == 0)
        validates = last or step % options.validate_every == 0
        self.unmeasured = False
        if not (previews or validates):
            return tripped
        with self.trainer.whole_weights():
            if not self.main:
                return tripped
            self.unmeasured = True
            with suppress(Interrupted):
                # First, since it may be done twice and leaves nothing in the log.
                if previews:
                    self.preview(captions)
                if validates and self.validation:
                    tripped = self.validate(self.validation)
                self.unmeasured = False
        return tripped

    @torch.no_grad()
    def validate(self, validation: Validation) -> list[str]:
        """Measures the weights in place, logs it, and keeps them when they are the best.

        A sentence for each collapse meter that tripped now. Without a validation split the last
        weights are exported.
        """
        step, measured = self.trainer.done, validation.measure()
        meters = {"collapse": measured.meters} if measured.meters else {}
        tripped = {"tripped": measured.tripped} if measured.tripped else {}
        run_log.append(self.folder, step=step, validation=measured.figures, **meters, **tripped)
        figures = {f"validation/{name}": value for name, value in measured.figures.items()}
        figures |= {f"collapse/{name}": value for name, value in measured.meters.items()}
        self.trainer.accelerator.log(figures, step=step)
        self._keep_best(validation, measured.figures)
        return measured.tripped

    def _keep_best(self, validation: Validation, figures: dict[str, float]) -> None:
        """Keeps the weights in place where their validation figures are the best so far."""
        peak = max(self.best.peak, mean_recall(self.recipe, figures))
        queries = validation.queries
        judging = judging_figures(self.recipe, figures)
        count = min((queries[key] for key in judging), default=len(validation.captions))
        if not is_better(self.recipe, figures, self.best, count):
            self.best = replace(self.best, peak=peak)
            return
        self.best = Best(self.trainer.done, figures, peak)
        tensors = {"averaged": self.trainer.weights()}
        state = {"step": self.best.step, "figures": figures}
        checkpoints.save(self.folder / "checkpoints", checkpoints.BEST, tensors, state)

    @torch.no_grad()
    def preview(self, captions: Sequence[str]) -> None:
        """A contact sheet of fixed prompts and seeds by the weights in place, where the denoiser
        trains.

        Without prompts in the recipe four of the captions are taken, evenly spread.
        """
        if not self.trainer.module.needs.latents:
            return
        captions = list(dict.fromkeys(captions))
        spread = tuple(captions[:: max(1, len(captions) // 4)][:4])
        prompts, options = self.recipe.train.preview_prompts or spread, self.recipe.generate
        folder, base = self.folder / "previews", self.trainer.base
        folder.mkdir(exist_ok=True)
        signals.check(even_held=True)
        base.eval()
        images = generate_images(
            base,
            prompts,
            range(len(prompts)),
            steps=options.steps,
            guidance=guidance_in_force(options, base.source)[0],
        )
        sheet = contact_sheet(list(images), prompts)
        sheet.save(folder / f"step-{self.trainer.done:06d}.png")


def rewind(folder: Path) -> None:
    """Says where a run goes on from, naming damaged checkpoints, and trims its log to there.

    Raises Damaged where it has checkpoints and all are damaged.
    """
    step = 0
    for _, state in checkpoints.latest(folder / "checkpoints"):
        if isinstance(state, dict):
            step = state["step"]
            break
        logger.warning("%s", state.fact)
    if not step:
        refuse_damaged(folder)
    start = f"goes on from step {step}" if step else "has no checkpoint yet and starts over"
    logger.info(f"Run {folder.name} {start}.")
    run_log.trim(folder, step)


def refuse_damaged(folder: Path) -> None:
    """Raises Damaged for a run that has checkpoints, of which none is whole: what is left of them.

    It would start over, and its log end.
    """
    below = folder / "checkpoints"
    if not checkpoints.written(below):
        return
    whole = checkpoints.whole_files(below)
    best = f"{checkpoints.BEST}/averaged.safetensors"
    saved = f"The best weights so far are whole: {below / best}. " if best in whole else ""
    raise Damaged(
        f"All checkpoints of run {folder.name} are damaged.",
        f"{saved}Files of them that are whole: {', '.join(whole) or 'none'}. "
        "Begin again with: unidiff train",
    )
