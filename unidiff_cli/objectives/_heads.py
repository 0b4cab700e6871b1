"""What a loss learns of its own: projection heads that only it looks through, a scale, a bias. They are not exported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


def mlp(width: int, out: int) -> nn.Sequential:
    """Three linear layers with SiLU between, as REPA's (arXiv 2410.06940): (N, width) → (N, out).

    The input is first standardised row by row, without parameters: CLIP's has length 1, the UNet's any.
    """
    inner = max(width, out)
    return nn.Sequential(
        nn.LayerNorm(width, elementwise_affine=False),
        nn.Linear(width, inner), nn.SiLU(), nn.Linear(inner, inner), nn.SiLU(), nn.Linear(inner, out),
    )  # fmt: skip


def scalar(start: float) -> nn.Parameter:
    """One learned number."""
    return nn.Parameter(torch.tensor(float(start)))


class Headed(nn.Module):
    """A loss called with each step's Views and, by name, what it learns of its own: heads, or single numbers."""

    def __init__(
        self, loss: Callable[..., Any], own: Mapping[str, nn.Module | nn.Parameter]
    ) -> None:
        super().__init__()
        self.loss, self.names = loss, tuple(own)
        for name, part in own.items():
            setattr(self, name, part)

    def forward(self, forward: Any) -> tuple[Tensor, dict[str, Tensor]]:
        return self.loss(forward, **{name: getattr(self, name) for name in self.names})
