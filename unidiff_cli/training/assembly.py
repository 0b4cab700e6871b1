"""The trainer of a run: a base, its adapters and the objectives, put together as a recipe says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unidiff_cli.config.schema import Recipe
from unidiff_cli.training.adapter import adapted
from unidiff_cli.training.compilation import compile_blocks
from unidiff_cli.training.module import TrainingModule
from unidiff_cli.training.precision import round_denoiser
from unidiff_cli.training.trainer import Trainer

if TYPE_CHECKING:
    from accelerate import Accelerator

    from unidiff_cli.models.base import BaseModel


def trainer_of(accelerator: Accelerator, base: BaseModel, recipe: Recipe) -> Trainer:
    """A trainer of the base as it is. Raises UsageError as `adapted` and `Trainer`."""
    options = recipe.train
    round_denoiser(base, recipe)
    module = TrainingModule(
        base,
        recipe.active(),
        options.seed,
        options.chunk,
        cached=options.cache_latents,
        adapters=adapted(base, recipe),
    )
    trainer = Trainer(accelerator, module, options)
    if options.compile:
        compile_blocks(base)
    return trainer
