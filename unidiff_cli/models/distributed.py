"""TODO docstring."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    pass


class _Gather(torch.autograd.Function):
    """all_gather whose gradient is summed over processes: each holds the whole loss (torch deprecates its own in 2.14)."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        ctx.rows = len(tensor)
        parts = [torch.empty_like(tensor) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(parts, tensor)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        whole = gradients[0].clone()  # another gather may share it
        torch.distributed.all_reduce(whole)
        first = torch.distributed.get_rank() * ctx.rows
        return whole[first : first + ctx.rows]
