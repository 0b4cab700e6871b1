"""Weights as tensors: two models blended, and a hash over all of one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn


def blend(base: Mapping[str, Tensor], tuned: Mapping[str, Tensor], alpha: float) -> None:
    """Moves a base's tensors to (1 − α) of themselves and α of the tuned ones, in place.

    Exact at α = 0 and at 1. Source: WiSE-FT, arXiv 2109.01903.
    """
    for key, weight in tuned.items():
        if weight.is_floating_point():
            base[key].lerp_(weight, alpha)


def weights_hash(*modules: nn.Module) -> str:
    """A sha256 over modules' weights, 16 hex digits."""
    sha = hashlib.sha256()
    for module in modules:
        for name, tensor in sorted(module.state_dict().items()):
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            sha.update(name.encode())
            sha.update(flat.view(torch.uint8).numpy().data)
    return sha.hexdigest()[:16]
