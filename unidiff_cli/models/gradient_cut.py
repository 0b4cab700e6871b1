"""Between an output and its readers: a graph that ends there, or a gradient scaled on its way."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class GradientFactors:
    """What gradients are multiplied with where a reader meets a tower; None: they stay as they are.

    `text`: what generation sends to the text tower. `denoiser`: what comes back through the
    denoiser's features, beside what comes through its prediction.
    """

    text: float | None = None
    denoiser: float | None = None


def scaled_gradient(x: Tensor, factor: float | None) -> Tensor:
    """The same values, whose gradient is multiplied with a factor on its way to `x`."""
    if factor is None or not x.requires_grad:
        return x
    # A view: `x` may have readers whose gradient stays as it is.
    view = x.view_as(x)
    view.register_hook(lambda gradient: gradient * factor)
    return view


@dataclass(frozen=True)
class Cut:
    """Outputs of a graph that ends there, each with the leaf that its readers see instead."""

    pairs: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def leaf(self, output: Tensor) -> Tensor:
        """The same values without the graph; their gradient arrives here."""
        leaf = output.detach().requires_grad_(output.requires_grad)
        # What has no graph, such as the states of a tower that stays as it is, ends none.
        if output.requires_grad:
            self.pairs.append((output, leaf))
        return leaf

    @property
    def outputs(self) -> list[Tensor]:
        """Where the graph ends."""
        return [output for output, _ in self.pairs]

    @property
    def leaves(self) -> list[Tensor]:
        """What readers see in their place."""
        return [leaf for _, leaf in self.pairs]

    @property
    def arrived(self) -> list[Tensor]:
        """The gradients at the outputs after backward; zeros where nothing arrived."""
        pairs = self.pairs
        return [leaf.new_zeros(leaf.shape) if leaf.grad is None else leaf.grad for _, leaf in pairs]
