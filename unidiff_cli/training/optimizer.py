"""TODO docstring."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from unidiff_cli.config.schema import Train
from unidiff_cli.errors import UsageError
from unidiff_cli.project.checkpoints import HEADS

if TYPE_CHECKING:
    pass

from unidiff_cli.training.module import TrainingModule, combined_needs


def parameter_groups(joint: TrainingModule, options: Train) -> list[dict[str, Any]]:
    """Sets what trains and returns the optimiser's groups, one a tower and weight-decay kind.

    A tower no objective reads, or with a learning rate of 0, does not train. Raises UsageError when none does, and where
    layers that begin at random would stay so.
    """
    asked = combined_needs(joint.objectives)
    reads = {name for o in joint.objectives.values() for name in o.reads}
    reached = {
        "vision": "image_embeds" in reads,
        "text": bool({"text_embeds", "text_states"} & reads),
        "denoiser": asked.latents or "prior" in reads,
        "new_layers": True,
    }
    joint.requires_grad_(False)
    towers = joint.base.towers()
    stream = towers.get("new_layers", []) if "dual_stream" in reads else []
    towers["new_layers"] = [*stream, *joint.heads.parameters()]
    groups = []
    for tower, parameters in towers.items():
        rate = getattr(options.lr, tower)
        if tower not in options.trains or not rate or not reached[tower]:
            continue
        for matrices in (True, False):  # norms, biases and the scale are not decayed
            some = [p.requires_grad_(True) for p in parameters if (p.ndim > 1) is matrices]
            decay = options.weight_decay if matrices else 0.0
            if some:
                groups.append({"params": some, "lr": rate, "weight_decay": decay, "name": tower})
    if not groups:
        raise UsageError(
            "Nothing trains: no objective reads a tower that has a learning rate.",
            "Look at train.trains and train.lr.",
        )
    if any(not p.requires_grad for p in joint.new):
        raise UsageError(
            "text_diffusion gives the base new layers, and they do not train.",
            "Name new_layers in train.trains, and give train.lr.new_layers a rate.",
        )
    return groups


def shared_text_parameters(joint: TrainingModule) -> list[nn.Parameter]:
    """The trained parameters of the text tower where both its embeddings and its states are read; else none."""
    reads = {name for o in joint.objectives.values() for name in o.reads}
    if not {"text_embeds", "text_states"} <= reads:
        return []
    return [p for p in joint.base.towers()["text"] if p.requires_grad]


def trained_parameters(joint: TrainingModule) -> dict[str, nn.Parameter]:
    """The parameters that train, by name: the base's by its own names, an objective's by `heads.<objective>.…`."""
    named = [
        *joint.base.named_parameters(),
        *joint.heads.named_parameters(prefix=HEADS.removesuffix(".")),
    ]
    return {name: p for name, p in named if p.requires_grad}


def rate_at(step: int, options: Train) -> float:
    """The factor on every learning rate at a step: linear warm-up, then half a cosine to zero."""
    warm = min(options.warmup, options.steps // 2)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, options.steps - warm)))


class EMA:
    """An exponential moving average of the trained parameters (diffusers' EMAModel), kept in fp32."""

    def __init__(self, joint: TrainingModule, decay: float) -> None:
        from diffusers.training_utils import EMAModel

        self.parameters = trained_parameters(joint)
        # (1 + k)/(10 + k) until it reaches `decay`: a short run is not an average of its start
        self.model = EMAModel(list(self.parameters.values()), decay=decay)

    @torch.no_grad()
    def step(self) -> None:
        """EMAModel.step to rounding, in half its time and without a copy of the weights."""
        self.model.optimization_step += 1
        decay = self.model.get_decay(self.model.optimization_step)
        torch._foreach_lerp_(self.model.shadow_params, list(self.parameters.values()), 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The base with the averaged weights, for validation, previews and export."""
        live = list(self.parameters.values())
        self.model.store(live)
        self.model.copy_to(live)
        try:
            yield
        finally:
            self.model.restore(live)

    def tensors(self) -> dict[str, Tensor]:
        return dict(zip(self.parameters, self.model.shadow_params, strict=True))

    def load(self, tensors: Mapping[str, Tensor], steps: int) -> None:
        for name, shadow in self.tensors().items():
            shadow.data.copy_(tensors[name])
        self.model.optimization_step = steps
