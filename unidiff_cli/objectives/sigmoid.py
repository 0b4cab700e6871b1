"""Sigmoid image-text loss (SigLIP, arXiv 2303.15343): each pair judged by itself, in any batch.

Scale and bias are this term's own, since its scale is no softmax's: CLIP's `logit_scale` stays as
it was, in the export too.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from unidiff_cli.models.encoders import CLIP
from unidiff_cli.models.needs import Needs
from unidiff_cli.objectives import Objective, Term
from unidiff_cli.objectives._pairs import SameGroup, pair_targets

if TYPE_CHECKING:
    from torch import Tensor

    from unidiff_cli.models.base import BaseModel
    from unidiff_cli.models.forward import ForwardPass


def sigmoid_loss(logits: Tensor, positive: Tensor, left_out: Tensor) -> Tensor:
    """−(1/N) Σ_ij log σ(y_ij · logit_ij), y = 1 for `positive` pairs (N, N), else −1, a scalar.

    Pairs `left_out` do not count. Equals open_clip's SigLipLoss where every caption and group is
    its own.
    """
    signed = logits.where(positive, -logits)
    # log σ(x) = −log(1 + e^−x), the larger exponent taken out.
    log_sigmoid = signed.clamp(max=0) - (-signed.abs()).exp().log1p()
    return -log_sigmoid.masked_fill(left_out, 0).sum() / len(logits)


class Sigmoid(Objective):
    """Says of each image and caption whether they belong together."""

    needs: ClassVar = Needs(image_embeds=True, text_embeds=True)
    trains: ClassVar = frozenset({"vision", "text", "new_layers"})
    # Not the text tower: CLIP's own scale has no gradient.
    covers: ClassVar = frozenset({"vision", "new_layers"})
    encoder: ClassVar = CLIP
    same_group: SameGroup = "ignore"
    scale: Annotated[
        float, Field(gt=0, le=100, description="what the learned scale begins with")
    ] = 10.0
    bias: Annotated[
        float, Field(description="what the learned bias begins with: most pairs do not match")
    ] = -10.0

    def build(self, base: BaseModel) -> Term:
        """The learned scale and bias; they train at `train.lr.new_layers`."""
        from unidiff_cli.objectives._heads import LossModule, scalar

        scales = {"log_scale": scalar(math.log(self.scale))}
        return LossModule(self.loss, {"bias": scalar(self.bias)}, scales)

    def loss(  # type: ignore[override]
        self, forward: ForwardPass, log_scale: Tensor, bias: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        # (N, D)
        image, text = forward.gather(forward.image_embeds), forward.gather(forward.text_embeds)
        with forward.full_precision():
            # (N, N)
            logits = log_scale.exp() * image @ text.T + bias
            shares, left_out = pair_targets(forward, self.same_group)
            loss = sigmoid_loss(logits, shares > 0, left_out)
        return loss, {"sigmoid_scale": log_scale.exp(), "sigmoid_bias": bias}
