"""Image-text contrastive loss (ITC), as CLIP has it, with captions that repeat taken into account."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from . import Objective

if TYPE_CHECKING:
    from torch import Tensor

    from ..views import Views


def targets(captions: Tensor, groups: Tensor, same_group: str) -> tuple[Tensor, Tensor]:
    """Positive shares (N, N), rows summing to 1, and the mask of pairs left out of the softmax.

    Equal captions are positives of each other. Another caption of the same product or duplicate group is
    `ignore`d (no negative), a `positive`, or a `negative`.
    """
    same_caption = captions[:, None] == captions[None, :]
    same_product = groups[:, None] == groups[None, :]
    positive = same_caption | same_product if same_group == "positive" else same_caption
    left_out = same_product & ~positive & (same_group == "ignore")
    return positive / positive.sum(1, keepdim=True), left_out


def symmetric_cross_entropy(logits: Tensor, shares: Tensor, left_out: Tensor) -> Tensor:
    """½[CE(logits, shares) + CE(logitsᵀ, shares)] over the pairs not left out; equals open_clip's loss when
    every caption and group is its own (shares = I). Source: CLIP, arXiv 2103.00020, figure 3."""
    logits = logits.masked_fill(left_out, -1e4)  # finite: 0 · −∞ is not a number
    image = -(shares * logits.log_softmax(1)).sum(1).mean()
    text = -(shares.T * logits.log_softmax(0)).sum(0).mean()
    return (image + text) / 2


class Contrastive(Objective):
    """Pulls a picture and its caption together, pushes it from the batch's other captions."""

    reads: ClassVar[frozenset[str]] = frozenset({"text_embeds", "image_embeds"})
    same_group: Literal["ignore", "positive", "negative"] = Field(
        "ignore", description="what another caption of the same product or duplicate group is to a picture"
    )

    def loss(self, views: Views) -> tuple[Tensor, dict[str, Tensor]]:
        image, text = views.gather(views.image_embeds), views.gather(views.text_embeds)  # (N, D)
        ids = (views.batch.caption_ids, views.batch.group_ids)
        captions, groups = (views.gather(i.to(image.device)) for i in ids)
        scale = views.base.clip.logit_scale.exp()  # fit keeps it ≤ 100
        with views.full_precision():
            logits = scale * image @ text.T  # (N, N)
        shares, left_out = targets(captions, groups, self.same_group)
        loss = symmetric_cross_entropy(logits, shares, left_out)
        hits = shares.gather(1, logits.masked_fill(left_out, -1e4).argmax(1, keepdim=True)) > 0
        return loss, {"contrastive_accuracy": hits.float().mean(), "logit_scale": scale.detach()}
