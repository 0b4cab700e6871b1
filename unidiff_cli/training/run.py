"""A run in progress: what it logs, how it is validated, which weights are the best, what is kept to go on from."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from unidiff_cli.config.schema import Recipe
from unidiff_cli.data.batch import Batch
from unidiff_cli.data.dataset import Samples, loader
from unidiff_cli.evaluation.metrics.recall import recall_both_ways
from unidiff_cli.models.encoders import embed_captions
from unidiff_cli.models.forward import latents_of
from unidiff_cli.models.sampler import generate_images
from unidiff_cli.reports.contact_sheet import contact_sheet
from unidiff_cli.training.collapse_monitor import CollapseMonitor
from unidiff_cli.training.module import combined_needs
from unidiff_cli.training.optimizer import trained_parameters
from unidiff_cli.training.trainer import Step, Trainer

if TYPE_CHECKING:
    from unidiff_cli.models.families.stable_diffusion import StableDiffusion as Base

from unidiff_cli.project import checkpoints, run_log
from unidiff_cli.training.selection import _found, is_better

say = logging.getLogger("unidiff")


class Run:
    """The folder of one run, as its main process fills it. `best` is the step, value and figures of the best weights."""

    def __init__(
        self, folder: Path, recipe: Recipe, fit: Trainer, held_out: Samples | None
    ) -> None:
        self.folder, self.recipe, self.fit, self.held_out = folder, recipe, fit, held_out
        self.best: dict[str, Any] = {}
        self.watch: CollapseMonitor | None = None

    # ------------------------------------------------------------ going on and stopping

    @torch.no_grad()
    def begin(self) -> None:
        """Takes the base's collapse meters before the first step, where CLIP trains and rows are held out."""
        clip = {f"clip.{name}" for name, _ in self.fit.base.clip.named_parameters()}
        if (
            self.held_out is None
            or not self._validates()
            or not clip & trained_parameters(self.fit.module).keys()
        ):
            return
        self.fit.module.eval()
        captions = [row.captions[0] for row in self.held_out.rows]
        self.watch = CollapseMonitor(self.fit.base, captions, self.folder, self._images())
        if not self.watch.known:
            run_log.append(self.folder, step=0, collapse=self.watch.base_meters)

    def _validates(self) -> bool:
        return (
            self.held_out is not None and len(self.held_out.rows) > 1
        )  # a lone image has no negative and no neighbour

    def _images(self) -> np.ndarray | None:
        """The base's unit embeddings of the held-out images, (N, D), where an objective reads them."""
        if self.held_out is None or not combined_needs(self.recipe.active()).pixels:
            return None
        seen = []
        for batch in _all(self.held_out):
            assert batch.clip_pixels is not None
            seen.append(self.fit.base.image(batch.clip_pixels).cpu().numpy())
        return np.concatenate(seen)

    def restore(self) -> None:
        """Loads the newest whole checkpoint where there is one."""
        for checkpoint, state in checkpoints.latest(self.folder / "checkpoints"):
            if isinstance(state, dict):
                parts = ("weights", "averaged", "optimizer")
                self.fit.load(
                    {part: checkpoints.tensors(checkpoint, part) for part in parts}, state["step"]
                )
                self.best = state["best"]
                if self.watch:
                    self.watch.tripped = state.get("tripped", [])
                return

    def save(self) -> None:
        """Writes a checkpoint of this step and lets the oldest go."""
        name, state = f"step-{self.fit.done:06d}", {"step": self.fit.done, "best": self.best}
        if self.watch:
            state["tripped"] = self.watch.tripped
        checkpoints.save(self.folder / "checkpoints", name, self.fit.tensors(), state)
        checkpoints.prune(self.folder / "checkpoints", self.recipe.train.keep_checkpoints)

    # ------------------------------------------------------------ looking at it

    def record(self, step: Step) -> dict[str, Any]:
        """Logs a step, to log.jsonl and the trackers, and gives back its line."""
        speed = {
            "seconds": step.seconds,
            "samples_per_second": self.recipe.train.batch_size / step.seconds,
        }
        figures = {"loss": float(step.loss), **{k: float(v) for k, v in step.parts.items()}}
        line = {
            "step": step.number,
            **figures,
            "grad_norm": float(step.norm),
            "lr": step.rate,
            **speed,
        }
        run_log.append(self.folder, **line)
        self.fit.accelerator.log({k: v for k, v in line.items() if k != "step"}, step=step.number)
        return line

    @torch.no_grad()
    def validate(self) -> list[str]:
        """Logs held-out losses, recall and collapse meters of the averaged weights, and keeps those weights when they are
        the best. Gives a sentence for each meter that tripped now."""
        if self.held_out is None or not self._validates():
            return []  # the last weights are exported
        found: dict[str, float] = {}
        said: list[str] = []
        with self.fit.averaged.applied():
            figures = self.fit.validate(_all(self.held_out))
            images = self._images()
            finders = images
            if images is None and "text_diffusion" in self.recipe.active():
                finders = by_diffusion(self.fit.base, self.held_out)
            if finders is not None:
                figures |= _recall(
                    self.fit.base, finders, [row.captions[0] for row in self.held_out.rows]
                )
            if self.watch:
                found, said = self.watch.look(self.fit.base, images)
        more = {k: v for k, v in {"collapse": found, "tripped": said}.items() if v}
        run_log.append(self.folder, step=self.fit.done, validation=figures, **more)
        shown = {f"validation/{k}": v for k, v in figures.items()} | {
            f"collapse/{k}": v for k, v in found.items()
        }
        self.fit.accelerator.log(shown, step=self.fit.done)
        peak = max(self.best.get("peak", 0.0), _found(figures))
        if is_better(self.recipe, figures, self.best, peak, len(self.held_out.rows)):
            self.best = {"step": self.fit.done, "figures": figures}
            tensors = {"averaged": self.fit.averaged.tensors()}
            checkpoints.save(self.folder / "checkpoints", checkpoints.BEST, tensors, self.best)
        self.best["peak"] = peak
        return said

    @torch.no_grad()
    def preview(self, fallback: Samples) -> None:
        """A contact sheet of fixed prompts and seeds by the averaged weights, where the UNet is asked for."""
        if not combined_needs(self.recipe.active()).latents:
            return
        captions = list(dict.fromkeys(row.captions[0] for row in (self.held_out or fallback).rows))
        prompts = self.recipe.train.preview_prompts or tuple(
            captions[:: max(1, len(captions) // 4)][:4]
        )
        options, folder = self.recipe.generate, self.folder / "previews"
        folder.mkdir(exist_ok=True)
        with self.fit.averaged.applied():
            self.fit.base.eval()
            images = list(
                generate_images(
                    self.fit.base,
                    prompts,
                    range(len(prompts)),
                    steps=options.steps,
                    guidance=options.guidance,
                )
            )
        contact_sheet(images, prompts).save(folder / f"step-{self.fit.done:06d}.png")


def rewind(folder: Path) -> None:
    """Says where a run goes on from, naming damaged checkpoints, and trims its log to there."""
    step = 0
    for _, state in checkpoints.latest(folder / "checkpoints"):
        if isinstance(state, dict):
            step = state["step"]
            break
        say.warning("%s", state)
    where = f"goes on from step {step}" if step else "has no checkpoint yet and starts over"
    say.warning(f"Run {folder.name} {where}.")
    run_log.trim(folder, step)


def _all(samples: Samples) -> Iterator[Batch]:
    return loader(samples, range(len(samples)))


def by_diffusion(base: Base, held_out: Samples) -> np.ndarray:
    """What DiffDis draws from pure noise for the held-out images, unit, (N, D)."""
    seen = [base.image_by_diffusion(latents_of(base, batch)[0]) for batch in _all(held_out)]
    return torch.cat(seen).cpu().numpy()


def _recall(base: Base, images: np.ndarray, captions: list[str]) -> dict[str, float]:
    return recall_both_ways(images, embed_captions(base, captions), captions)
