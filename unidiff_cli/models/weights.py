"""TODO docstring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


import hashlib

import torch
from torch import Tensor, nn


def blend(own: Mapping[str, Tensor], tuned: Mapping[str, Tensor], alpha: float) -> None:
    """Moves a base's tensors to (1 − alpha) of themselves and alpha of the tuned ones, in place; exact at 0 and at 1.

    WiSE-FT, arXiv 2109.01903.
    """
    for key, weight in tuned.items():
        if weight.is_floating_point():
            own[key].lerp_(weight, alpha)


def weights_hash(*modules: nn.Module) -> str:
    """A sha256 over modules' weights, 16 hex digits."""
    found = hashlib.sha256()
    for module in modules:
        for name, tensor in sorted(module.state_dict().items()):
            found.update(name.encode())
            found.update(
                tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
            )
    return found.hexdigest()[:16]
