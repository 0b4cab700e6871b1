"""What a loss learns of its own: projection heads that only it reads, a scale, a bias."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


def mlp(width: int, out: int) -> nn.Sequential:
    """Three linear layers with SiLU between, as REPA's (arXiv 2410.06940): (N, width) → (N, out).

    The input is first standardised row by row, without parameters: CLIP's has length 1, a
    denoiser's any.
    """
    inner = max(width, out)
    return nn.Sequential(
        nn.LayerNorm(width, elementwise_affine=False),
        nn.Linear(width, inner),
        nn.SiLU(),
        nn.Linear(inner, inner),
        nn.SiLU(),
        nn.Linear(inner, out),
    )


def scalar(start: float) -> nn.Parameter:
    """One learned number."""
    return nn.Parameter(torch.tensor(float(start)))


class LossModule(nn.Module):
    """A loss called with each step's ForwardPass and, by name, what it learns of its own.

    `scales` are logarithms of learned temperatures, which training keeps below ln 100.
    """

    def __init__(
        self,
        loss: Callable[..., Any],
        parts: Mapping[str, nn.Module | nn.Parameter],
        scales: Mapping[str, nn.Parameter] | None = None,
    ) -> None:
        super().__init__()
        self.loss, self.scale_names = loss, tuple(scales or {})
        self.names = (*(scales or {}), *parts)
        for name, part in {**(scales or {}), **parts}.items():
            setattr(self, name, part)

    @property
    def scales(self) -> list[nn.Parameter]:
        return [getattr(self, name) for name in self.scale_names]

    def forward(self, forward: Any) -> tuple[Tensor, dict[str, Tensor]]:
        return self.loss(forward, **{name: getattr(self, name) for name in self.names})
