"""Text diffusion (DiffDis's ITA): a caption's embedding, noised, is predicted from the clean image by the UNet.

DiffDis, arXiv 2308.09306. The learnable scale is ours: without a temperature the loss cannot fall far.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from unidiff_cli.objectives import Objective, Term
from unidiff_cli.objectives._losses import symmetric_cross_entropy, targets

if TYPE_CHECKING:
    from torch import Tensor

    from unidiff_cli.models.forward import ForwardPass


BUCKETS = 4  # quarters of the schedule, each asked equally often and logged: where noise is low, the answer leaks


class TextDiffusion(Objective):
    """Finds with the UNet: from pure noise it draws a text embedding for an image."""

    reads: ClassVar[frozenset[str]] = frozenset(
        {"text_embeds", "null_states", "latents", "dual_stream"}
    )
    gamma: Annotated[
        float, Field(gt=0, le=1, description="γ: how strong e₀ stands against the noise")
    ] = 1.0
    image_drop: Annotated[
        float, Field(ge=0, lt=1, description="share of images dropped, for guidance")
    ] = 0.1
    steps: Annotated[
        int, Field(ge=1, description="DDIM steps from pure noise to an image's vector")
    ] = 2
    guidance: Annotated[
        float,
        Field(
            ge=0, description="classifier-free guidance of these steps; 1: none, at half the passes"
        ),
    ] = 1.0
    same_group: Literal["ignore", "positive", "negative"] = Field(
        "ignore",
        description="what another caption of the same product or duplicate group is to an image",
    )

    def build(self, base: Any) -> Term:
        """Gives the base a fresh dual stream where it has none; its weights belong to the base and are exported."""
        base.attach_dual_stream(gamma=self.gamma, steps=self.steps, guidance=self.guidance)
        return self.loss

    def loss(self, forward: ForwardPass) -> tuple[Tensor, dict[str, Tensor]]:
        base, stream = forward.base, forward.base.dual_stream
        e0, z = (
            forward.sub_batch(forward.text_embeds).detach(),
            forward.latents,
        )  # e0 of length 1: at unit variance it would leak
        strata = forward.device_tensor(
            [rank % BUCKETS for rank in forward.ranks]
        )  # independent of t_z
        share = (strata + forward.draw("t-text", uniform=True)) / BUCKETS
        t = (share * len(base.abar)).long().clamp(max=len(base.abar) - 1)
        e_t = stream.noisy(e0, forward.draw("noise-text", tuple(e0.shape[1:])), base.abar[t])
        if self.image_drop and forward.training:
            kept = forward.draw("drop-image", uniform=True) >= self.image_drop
            z = z * kept.view(-1, 1, 1, 1)
        found = base.predict_text(
            e_t, t, z, forward.null_states.detach()
        )  # the text tower is not its to move
        found, texts, strata = (forward.gather(x) for x in (found, e0, strata))
        ids = (forward.batch.caption_ids, forward.batch.group_ids)
        captions, groups = (forward.gather(forward.sub_batch(i.to(forward.device))) for i in ids)
        scale = stream.logit_scale.exp()  # fit keeps it ≤ 100
        with forward.full_precision():
            logits = scale * found @ texts.T  # (N, N)
        shares, left_out = targets(captions, groups, self.same_group)
        loss = symmetric_cross_entropy(logits, shares, left_out)
        rows = -(shares * logits.masked_fill(left_out, -1e4).log_softmax(1)).sum(1)
        quarters = [rows[strata == b] for b in range(BUCKETS)]
        by = {f"text_diffusion_t{b}": some.mean() for b, some in enumerate(quarters) if len(some)}
        return loss, {**by, "text_diffusion_scale": scale}
