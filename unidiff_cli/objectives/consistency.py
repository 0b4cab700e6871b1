"""Reciprocal semantic consistency (RSC) between CLIP's picture features and the UNet's.

UniDiff (arXiv 2306.00813) names such a term "on visual features from CLIP and diffusion models"; its formula
is not public in a form we could read. What follows is our formulation, not the paper's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from . import Objective

if TYPE_CHECKING:
    from torch import Tensor

    from ..views import Views


def relations(features: Tensor, temperature: float) -> Tensor:
    """log P_ij = log softmax_{j≠i}(cos_ij/τ) of centred features (N, d); the diagonal is −10⁴.

    Centring is mandatory: with a common mean of cosine 0.90 left in, the loss measures the mean
    (2.09 instead of 0.25 in a trial), not how pictures relate.
    """
    centred = features - features.mean(0, keepdim=True)
    unit = centred / centred.norm(dim=1, keepdim=True).clamp(min=1e-6)
    cosines = unit @ unit.T / temperature
    itself = cosines.new_ones(len(cosines)).diag().bool()
    return cosines.masked_fill(itself, -1e4).log_softmax(1)


def relational(v: Tensor, u: Tensor, temperature: float = 0.1) -> Tensor:
    """(1/2N) Σ_i [KL(sg Pᵘ_i ‖ Pᵛ_i) + KL(sg Pᵛ_i ‖ Pᵘ_i)], a scalar.

    v (N, D) and u (N, d_u) are features of the same N pictures. No parameters, any dimensions; invariant to
    rotation, scale and shift of either. 0 when both collapse, so it does not by itself prevent that.
    """
    log_v, log_u = relations(v, temperature), relations(u, temperature)

    def kl(teacher: Tensor, student: Tensor) -> Tensor:
        teacher = teacher.detach()
        return (teacher.exp() * (teacher - student)).sum(1)  # (N,)

    return (kl(log_u, log_v) + kl(log_v, log_u)).mean() / 2


class Consistency(Objective):
    """Makes both models agree on which pictures are alike."""

    reads: ClassVar[frozenset[str]] = frozenset({"image_embeds", "latents", "null_states"})
    kind: Literal["relational"] = Field("relational", description="how the two sides are held together")
    temperature: Annotated[float, Field(gt=0, description="τ of the softmax over a batch's cosines")] = 0.1
    below: Annotated[int, Field(ge=1, description="timesteps t < below: pictures barely noised")] = 300

    def loss(self, views: Views) -> tuple[Tensor, dict[str, Tensor]]:
        u = views.unet_features(min(self.below, len(views.base.abar)))
        v = views.sub_batch(
            views.image_embeds
        )  # computed here, not below: the tower itself may run in half precision
        with views.full_precision():
            return relational(views.gather(v), views.gather(u), self.temperature), {}
