"""Objectives: each is one file, a pydantic model whose fields are its recipe keys and whose loss reads Views.

    class Triplet(Objective):                     # objectives/triplet.py is `triplet` in a recipe
        margin: float = 0.2
        def loss(self, views): ...                # -> (scalar, {metric name: scalar})

Only methods of tensors, or imports inside `loss`, so that a recipe is checked without torch.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from ..recipe import Section

if TYPE_CHECKING:
    from torch import Tensor

    from ..views import Views


class Objective(Section):
    """One term of the loss; `weight` multiplies it."""

    reads: ClassVar[frozenset[str]]  # the names of the Views it looks at; they decide what a batch loads
    weight: Annotated[float, Field(ge=0, description="multiplies the term in the total loss")] = 1.0

    @abstractmethod
    def loss(self, views: Views) -> tuple[Tensor, dict[str, Tensor]]:
        """The term as a scalar, unweighted, and figures worth logging."""
