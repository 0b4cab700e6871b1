"""Gradient conflict on the text tower, and how PCGrad takes it out."""

from __future__ import annotations

import torch
from torch import Tensor

# Of parameters in one order; None for one that is not reached.
Gradients = list[Tensor | None]


def products(a: Gradients, b: Gradients) -> tuple[Tensor, Tensor, Tensor]:
    """a·b, ‖a‖² and ‖b‖² over the parameters that both reach. Raises ValueError where none is."""
    both = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    if not both:
        raise ValueError("nothing is shared")
    return (
        torch.stack([(x * y).sum() for x, y in both]).sum(),
        torch.stack([x.square().sum() for x, _ in both]).sum(),
        torch.stack([y.square().sum() for _, y in both]).sum(),
    )


def project(a: Gradients, b: Gradients) -> tuple[Gradients, Gradients]:
    """Both without their part against the other, where a·b < 0.

    a − (a·b/‖b‖²) b and b − (a·b/‖a‖²) a: PCGrad for two tasks (Yu et al., arXiv 2001.06782,
    algorithm 1), whose order does not matter.
    """
    dot, aa, bb = products(a, b)
    # Where they agree nothing is taken.
    dot = dot.clamp(max=0)
    to_a, to_b = dot / bb.clamp(min=1e-30), dot / aa.clamp(min=1e-30)

    def without(x: Tensor | None, y: Tensor | None, share: Tensor) -> Tensor | None:
        return x if x is None or y is None else x - share * y

    pairs = list(zip(a, b, strict=True))
    return [without(x, y, to_a) for x, y in pairs], [without(y, x, to_b) for x, y in pairs]
