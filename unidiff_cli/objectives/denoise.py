"""Text-conditioned image synthesis (IS): the diffusion loss of the base's own parameterisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from . import Objective

if TYPE_CHECKING:
    from torch import Tensor

    from ..views import Views


def min_snr(abar: Tensor, gamma: float, prediction: str) -> Tensor:
    """Weights of the squared error (B,): min(SNR, γ)/SNR for ε, min(SNR, γ)/(SNR+1) for v.

    Source: Min-SNR, arXiv 2303.09556, and diffusers' text-to-image example. At zero terminal SNR the ε
    weight is taken at its limit, 1.
    """
    snr = abar / (1 - abar).clamp(min=1e-8)
    clipped = snr.clamp(max=gamma)
    return clipped / snr.clamp(min=1e-8) if prediction == "epsilon" else clipped / (snr + 1)


def squared_errors(views: Views, snr_gamma: float | None) -> Tensor:
    """w(t)·‖target − f(z_t, t, c)‖² of each sample, the mean over its latents, (B,)."""
    base, t = views.base, views.timesteps
    target = base.target(views.latents, views.noise, t)
    error = (views.unet_prediction - target).square().mean(dim=(1, 2, 3))
    if snr_gamma is None:
        return error
    return error * min_snr(base.abar[t], snr_gamma, base.scheduler.config.prediction_type)


class Denoise(Objective):
    """Predicts the noise in a noised picture from its caption."""

    reads: ClassVar[frozenset[str]] = frozenset({"text_states", "latents"})
    caption_drop: Annotated[
        float, Field(ge=0, le=1, description="share of captions dropped, for guidance")
    ] = 0.1
    snr_gamma: Annotated[float, Field(gt=0)] | None = Field(
        5.0, description="min-SNR γ; null weighs all alike"
    )

    def loss(self, views: Views) -> tuple[Tensor, dict[str, Tensor]]:
        return squared_errors(views, self.snr_gamma).mean(), {}
