"""Text-conditioned image synthesis (IS): the diffusion loss of the base's own parameterisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from unidiff_cli.models.needs import Needs
from unidiff_cli.objectives import Objective
from unidiff_cli.objectives._losses import squared_errors

if TYPE_CHECKING:
    from torch import Tensor

    from unidiff_cli.models.forward import ForwardPass


class Denoise(Objective):
    """Predicts the noise in a noised image from its caption."""

    trains: ClassVar = frozenset({"text", "denoiser"})
    covers: ClassVar = frozenset({"denoiser"})
    measures_generation: ClassVar = True
    caption_drop: Annotated[
        float, Field(ge=0, le=1, description="share of captions dropped, for guidance")
    ] = 0.1
    snr_gamma: Annotated[float, Field(gt=0)] | None = Field(
        5.0, description="min-SNR γ; null weighs all alike"
    )

    @property
    def needs(self) -> Needs:
        return Needs(text_states=True, latents=True, caption_drop=self.caption_drop)

    def loss(self, forward: ForwardPass) -> tuple[Tensor, dict[str, Tensor]]:
        return squared_errors(forward, self.snr_gamma).mean(), {}
