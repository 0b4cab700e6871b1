"""Text diffusion (DiffDis's ITA): a caption's noised embedding, predicted from the clean image.

The denoiser predicts it with the layers of DiffDis beside it. DiffDis, arXiv 2308.09306. The
learnable scale is ours: without a temperature the loss cannot fall far.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from unidiff_cli.models.encoders import DIFFDIS
from unidiff_cli.models.needs import Needs
from unidiff_cli.objectives import Objective
from unidiff_cli.objectives._losses import NEVER, symmetric_cross_entropy
from unidiff_cli.objectives._pairs import SameGroup, pair_targets

if TYPE_CHECKING:
    from torch import Tensor

    from unidiff_cli.models.base import BaseModel
    from unidiff_cli.models.dual_stream import DualStream
    from unidiff_cli.models.forward import ForwardPass

# Quarters of the schedule, each sampled equally often and logged: where noise is low, the answer
# leaks.
QUARTERS = 4


class TextDiffusion(Objective):
    """Retrieves with the denoiser: from pure noise it generates a text embedding for an image."""

    needs: ClassVar = Needs(text_embeds=True, null_states=True, latents=True)
    trains: ClassVar = frozenset({"denoiser", "new_layers"})
    # The denoiser runs as far as its middle block only.
    covers: ClassVar = frozenset({"new_layers"})
    encoder: ClassVar = DIFFDIS
    gamma: Annotated[
        float, Field(gt=0, le=1, description="γ: how strong e₀ stands against the noise")
    ] = 1.0
    image_drop: Annotated[
        float, Field(ge=0, lt=1, description="share of images dropped, for guidance")
    ] = 0.1
    steps: Annotated[
        int, Field(ge=1, description="DDIM steps from pure noise to an image's embedding")
    ] = 2
    guidance: Annotated[
        float,
        Field(
            ge=0, description="classifier-free guidance of these steps; 1: none, at half the passes"
        ),
    ] = 1.0
    same_group: SameGroup = "ignore"

    def layers(self, base: BaseModel) -> DualStream:
        """DiffDis's stream, sampled as this recipe says."""
        from unidiff_cli.models.dual_stream import DualStream

        return DualStream.for_base(base, gamma=self.gamma, steps=self.steps, guidance=self.guidance)

    def loss(self, forward: ForwardPass) -> tuple[Tensor, dict[str, Tensor]]:
        from unidiff_cli.models.dual_stream import DualStream

        stream, schedule = DualStream.of(forward.base), forward.base.schedule
        assert stream is not None
        # e₀ has length 1: at unit variance it would leak.
        e0, z = forward.sub_batch(forward.text_embeds).detach(), forward.latents
        t, quarters = self._timesteps(forward)
        noise = forward.random("noise-text", tuple(e0.shape[1:]))
        e_t = stream.noisy(e0, noise, t, schedule)
        if self.image_drop and forward.training:
            shown = forward.random("drop-image", uniform=True) >= self.image_drop
            z = z * shown.view(-1, 1, 1, 1)
        # The text tower is not its to move.
        null = forward.null_condition.detach()
        predicted = stream.predict(forward.base, e_t, t, z, null)
        predicted, texts, quarters = (forward.gather(x) for x in (predicted, e0, quarters))
        # The trainer keeps it at 100 or below.
        scale = stream.logit_scale.exp()
        with forward.full_precision():
            # (N, N)
            logits = scale * predicted @ texts.T
        shares, left_out = pair_targets(forward, self.same_group, denoised=True)
        loss = symmetric_cross_entropy(logits, shares, left_out)
        rows = -(shares * logits.masked_fill(left_out, NEVER).log_softmax(1)).sum(1)
        by_quarter = {k: rows[quarters == k] for k in range(QUARTERS)}
        figures = {f"text_diffusion_t{k}": x.mean() for k, x in by_quarter.items() if len(x)}
        return loss, {**figures, "text_diffusion_scale": scale}

    def _timesteps(self, forward: ForwardPass) -> tuple[Tensor, Tensor]:
        """Timesteps (b,), each quarter of the schedule as often, and the quarters (b,).

        They are independent of the denoise pass's.
        """
        schedule, quarters = forward.base.schedule, forward.denoise_positions % QUARTERS
        shares = (quarters + forward.random("t-text", uniform=True)) / QUARTERS
        return schedule.timesteps(shares).clamp(max=len(schedule) - 1), quarters
