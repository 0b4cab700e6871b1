"""Weights as tensors: a model blended with its base, and a hash over all of one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from unidiff_cli.models.base import BaseModel


@dataclass(frozen=True)
class Shares:
    """The share α of the tuned weights in a blend, of CLIP's towers and of the denoiser; 1: all."""

    clip: float = 1.0
    denoiser: float = 1.0

    @property
    def is_whole(self) -> bool:
        """Whether nothing of the base is left."""
        return self.clip == self.denoiser == 1

    @property
    def suffix(self) -> str:
        """What the name of a blend ends in: -a0.5, -c0.7-d1; "" where nothing is blended."""
        if self.is_whole:
            return ""
        if self.clip == self.denoiser:
            return f"-a{self.clip:g}"
        return f"-c{self.clip:g}-d{self.denoiser:g}"


def blend(base: BaseModel, tuned: Mapping[str, Tensor], shares: Shares) -> None:
    """Moves a base's weights to (1 − α) of themselves and α of the tuned ones, in place.

    Exact at α = 0 and at 1. What is of no tower of the base, such as new layers, is the tuned one.
    Source: WiSE-FT, arXiv 2109.01903; a share for each tower is ours.
    """
    of = {"vision": shares.clip, "text": shares.clip, "denoiser": shares.denoiser}
    groups = base.parameter_groups().items()
    alphas = {id(p): of.get(tower, 1.0) for tower, parameters in groups for p in parameters}
    own = {name: alphas.get(id(p), 1.0) for name, p in base.named_parameters()}
    state = base.state_dict()
    for key, weight in tuned.items():
        if weight.is_floating_point():
            state[key].lerp_(weight, own.get(key, 1.0))


def weights_hash(*modules: nn.Module) -> str:
    """A sha256 over modules' weights, 16 hex digits."""
    sha = hashlib.sha256()
    for module in modules:
        for name, tensor in sorted(module.state_dict().items()):
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            sha.update(name.encode())
            sha.update(flat.view(torch.uint8).numpy().data)
    return sha.hexdigest()[:16]
