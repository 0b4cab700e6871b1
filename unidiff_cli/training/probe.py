"""Two steps of a run on random tensors, really made: the memory that they took, and their time."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from unidiff_cli import machine
from unidiff_cli.config.schema import Recipe
from unidiff_cli.errors import EnvironmentProblem
from unidiff_cli.models import loading
from unidiff_cli.training.assembly import trainer_of
from unidiff_cli.training.example_batches import Batches, filled
from unidiff_cli.training.precision import accelerator_of


@dataclass(frozen=True)
class Probe:
    """What two steps took: bytes before the base was loaded and at their peak; seconds of each."""

    before: int
    peak: int
    seconds: list[float]


def probe(recipe: Recipe, batches: Batches) -> Probe:
    """Loads the base, and makes a step of each of the batches, in this process; nothing is kept.

    The batches come without tensors and get random ones, so no image is read and no cache filled.
    Raises as `train`, and EnvironmentProblem where this system does not say what a process takes.
    """
    machine.free_dropped()
    options, before = recipe.train, machine.memory_now()
    try:
        machine.forget_peak_memory()
    except OSError as problem:
        raise EnvironmentProblem(
            "This system does not say how much memory a process took at most.",
            "Look at the estimate: unidiff train --dry-run",
        ) from problem
    base = loading.load_base(recipe.base, recipe.image_size).to(machine.device())
    seconds = []
    with accelerator_of(options) as accelerator:
        torch.manual_seed(options.seed)
        trainer = trainer_of(accelerator, base, recipe)
        for batch in batches(base):
            started = time.monotonic()
            for step in trainer.steps(iter([filled(batch, base, recipe)])):
                # Waits for the device.
                float(step.loss)
            seconds.append(time.monotonic() - started)
    return Probe(before, machine.peak_memory(), seconds)
