"""The adapters of a run: which layers of its base get one, and what cannot train with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from unidiff_cli.config.schema import Recipe
from unidiff_cli.errors import UsageError
from unidiff_cli.models.low_rank import LowRank, adaptable_layers
from unidiff_cli.training.depth import upper_part
from unidiff_cli.training.optimizer import trained_towers

if TYPE_CHECKING:
    from unidiff_cli.models.base import BaseModel


def adapted(base: BaseModel, recipe: Recipe) -> LowRank | None:
    """Puts fresh adapters into a base as `train.lora` says, alike on every process; None: without.

    Raises UsageError for a target that is no layer, where no tower of them trains, and for an
    objective that holds the weights themselves.
    """
    options, active = recipe.train, recipe.active()
    if options.lora is None:
        return None
    for name, objective in active.items():
        if objective.holds_weights:
            raise UsageError(
                f"{name} holds the base's weights, and with train.lora these do not change.",
                f"Turn it off: --set objectives.{name}=null",
            )
    towers = trained_towers(active.values(), options) - {"new_layers"}
    trained = {tower: [p for p, _ in upper_part(base, tower, options)] for tower in towers}
    layers = adaptable_layers(base, options.lora, trained)
    if not layers:
        raise UsageError(
            f"Of train.lora.towers ({', '.join(options.lora.towers)}) none trains.",
            "Turn it off: --set train.lora=null",
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        return LowRank(base, options.lora, layers)
