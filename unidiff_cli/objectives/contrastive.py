"""Image-text contrastive loss (ITC), as CLIP has it, with captions that repeat taken into account."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from unidiff_cli.objectives import Objective

if TYPE_CHECKING:
    from torch import Tensor

    from unidiff_cli.models.forward import ForwardPass


from unidiff_cli.objectives._losses import symmetric_cross_entropy, targets


class Contrastive(Objective):
    """Pulls an image and its caption together, pushes it from the batch's other captions."""

    reads: ClassVar[frozenset[str]] = frozenset({"text_embeds", "image_embeds"})
    same_group: Literal["ignore", "positive", "negative"] = Field(
        "ignore",
        description="what another caption of the same product or duplicate group is to an image",
    )

    def loss(self, forward: ForwardPass) -> tuple[Tensor, dict[str, Tensor]]:
        image, text = (
            forward.gather(forward.image_embeds),
            forward.gather(forward.text_embeds),
        )  # (N, D)
        ids = (forward.batch.caption_ids, forward.batch.group_ids)
        captions, groups = (forward.gather(i.to(image.device)) for i in ids)
        scale = forward.base.clip.logit_scale.exp()  # fit keeps it ≤ 100
        with forward.full_precision():
            logits = scale * image @ text.T  # (N, N)
        shares, left_out = targets(captions, groups, self.same_group)
        loss = symmetric_cross_entropy(logits, shares, left_out)
        hits = shares.gather(1, logits.masked_fill(left_out, -1e4).argmax(1, keepdim=True)) > 0
        return loss, {"contrastive_accuracy": hits.float().mean(), "logit_scale": scale.detach()}
