"""Objectives: each is one file, a pydantic model whose fields are its recipe keys and whose loss reads Views.

    class Triplet(Objective):                     # objectives/triplet.py is `triplet` in a recipe
        margin: float = 0.2
        def loss(self, forward): ...                # -> (scalar, {metric name: scalar})

Only methods of tensors, or imports inside `loss` and `build`, so that a recipe is checked without torch. A term with
parameters of its own (projection heads) overrides `build`, which gives an nn.Module for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from unidiff_cli.config.schema import Section

if TYPE_CHECKING:
    from torch import Tensor

    from unidiff_cli.models.forward import ForwardPass


Term = Callable[
    ..., Any
]  # Views -> (scalar, {figure: scalar}); an nn.Module where it has parameters of its own


class Objective(Section):
    """One term of the loss; `weight` multiplies it."""

    reads: ClassVar[
        frozenset[str]
    ]  # the names of the Views it looks at; they decide what a batch loads
    weight: Annotated[float, Field(ge=0, description="multiplies the term in the total loss")] = 1.0

    def build(self, base: Any) -> Term:
        """What is called with each step's Views; its own parameters train with `train.lr.new_layers`, seeded by the run."""
        return self.loss

    def loss(self, forward: ForwardPass) -> tuple[Tensor, dict[str, Tensor]]:
        """The term as a scalar, unweighted, and figures worth logging."""
        raise TypeError(f"{type(self).__name__} has neither loss nor build")
