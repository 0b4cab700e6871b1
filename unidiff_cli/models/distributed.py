"""What processes that train together have in common: rows in one tensor, and mean gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


def world_size() -> int:
    """How many processes train together; 1 where torch.distributed is not in use."""
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def rank() -> int:
    """The number of this process among those that train together."""
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


def average(gradients: Iterable[Tensor | None]) -> None:
    """Means over all processes, in place, as DDP takes them; nothing on one process."""
    if (world := world_size()) == 1:
        return
    present = [g for g in gradients if g is not None]
    for work in [torch.distributed.all_reduce(g, async_op=True) for g in present]:
        work.wait()
    for gradient in present:
        gradient.div_(world)


def gather_rows(tensor: Tensor) -> Tensor:
    """The rows of all processes in rank order, with gradient to each; the tensor itself on one.

    Every process then holds the whole in-batch loss; DDP's mean of the gradients is its gradient.
    """
    return tensor if world_size() == 1 else _Gather.apply(tensor.contiguous())


class _Gather(torch.autograd.Function):
    """all_gather whose gradient is summed over processes, since each holds the whole loss.

    torch deprecates its own in 2.14.
    """

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        ctx.rows = len(tensor)
        parts = [torch.empty_like(tensor) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(parts, tensor)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        # A copy: another gather may share it.
        whole = gradients[0].clone()
        torch.distributed.all_reduce(whole)
        first = torch.distributed.get_rank() * ctx.rows
        return whole[first : first + ctx.rows]
