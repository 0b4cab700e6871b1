"""Sigmoid image-text loss (SigLIP, arXiv 2303.15343): each pair judged by itself, so small batches do.

Scale and bias are this term's own, since its scale is no softmax's: CLIP's `logit_scale` stays as it was, in the export too.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from unidiff_cli.objectives import Objective, Term
from unidiff_cli.objectives._losses import targets

if TYPE_CHECKING:
    from torch import Tensor

    from unidiff_cli.models.forward import ForwardPass


def sigmoid_loss(logits: Tensor, positive: Tensor, left_out: Tensor) -> Tensor:
    """−(1/N) Σ_ij log σ(y_ij · logit_ij), y = 1 for the `positive` pairs (N, N) and −1 for the others, a scalar.

    Pairs `left_out` do not count. Equals open_clip's SigLipLoss where every caption and group is its own.
    """
    signed = logits.where(positive, -logits)
    # log σ(x) = −log(1 + e^−x), the larger exponent taken out
    log_sigmoid = signed.clamp(max=0) - (-signed.abs()).exp().log1p()
    return -log_sigmoid.masked_fill(left_out, 0).sum() / len(logits)


class Sigmoid(Objective):
    """Says of each image and caption whether they belong together."""

    reads: ClassVar[frozenset[str]] = frozenset({"text_embeds", "image_embeds"})
    same_group: Literal["ignore", "positive", "negative"] = Field(
        "ignore",
        description="what another caption of the same product or duplicate group is to an image",
    )
    scale: Annotated[
        float, Field(gt=0, le=100, description="what the learned scale begins with")
    ] = 10.0
    bias: Annotated[
        float, Field(description="what the learned bias begins with: most pairs do not match")
    ] = -10.0

    def build(self, base: Any) -> Term:
        """The learned scale and bias; they train with `train.lr.new_layers`."""
        from unidiff_cli.objectives._heads import Headed, scalar

        return Headed(
            self.loss, {"log_scale": scalar(math.log(self.scale)), "bias": scalar(self.bias)}
        )

    def loss(
        self, forward: ForwardPass, log_scale: Tensor, bias: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:  # type: ignore[override]
        image, text = (
            forward.gather(forward.image_embeds),
            forward.gather(forward.text_embeds),
        )  # (N, D)
        ids = (forward.batch.caption_ids, forward.batch.group_ids)
        captions, groups = (forward.gather(i.to(image.device)) for i in ids)
        with forward.full_precision():
            logits = log_scale.exp() * image @ text.T + bias  # (N, N)
            shares, left_out = targets(captions, groups, self.same_group)
            loss = sigmoid_loss(logits, shares > 0, left_out)
        return loss, {"sigmoid_scale": log_scale.exp(), "sigmoid_bias": bias}
