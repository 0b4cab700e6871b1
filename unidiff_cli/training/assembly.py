"""The trainer of a run: a base, its adapters and the objectives, put together as a recipe says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unidiff_cli.config.schema import Recipe
from unidiff_cli.training.adapter import adapted
from unidiff_cli.training.module import TrainingModule
from unidiff_cli.training.trainer import Trainer

if TYPE_CHECKING:
    from accelerate import Accelerator

    from unidiff_cli.models.base import BaseModel


def trainer_of(accelerator: Accelerator, base: BaseModel, recipe: Recipe) -> Trainer:
    """A trainer of the base as it is. Raises UsageError as `adapted` and `Trainer`."""
    options = recipe.train
    module = TrainingModule(
        base,
        recipe.active(),
        options.seed,
        options.chunk,
        cached=options.cache_latents,
        adapters=adapted(base, recipe),
    )
    return Trainer(accelerator, module, options)
