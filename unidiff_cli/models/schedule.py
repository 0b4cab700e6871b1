"""How noise is added to latents and what a denoiser predicts: the one place that knows.

A schedule says z_t = signal(t)·z + sigma(t)·ε. DDPM's is here; a flow-matching one is a second
class with another signal, sigma and target. A base holds one as a module, so that its buffers move
with the base; they are no part of its weights.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from torch import Tensor, nn

Prediction = Literal["epsilon", "v_prediction"]


class NoiseSchedule(nn.Module, ABC):
    """The noise of every timestep t = 0 … len − 1, and the loss of a prediction made under it."""

    @abstractmethod
    def __len__(self) -> int:
        """How many timesteps there are."""

    @abstractmethod
    def signal(self, t: Tensor | int) -> Tensor:
        """The factor of the clean latents at t, of the shape of t."""

    @abstractmethod
    def sigma(self, t: Tensor | int) -> Tensor:
        """The factor of the noise at t, of the shape of t."""

    @abstractmethod
    def target(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the denoiser should predict for clean latents and noise (B, c, h, w) at t (B,)."""

    @abstractmethod
    def predicted_clean(self, z_t: Tensor, prediction: Tensor, t: Tensor) -> Tensor:
        """ẑ₀ (B, c, h, w): the clean latents that a prediction for z_t at t (B,) amounts to."""

    @abstractmethod
    def noise_error(self, error: Tensor, t: Tensor) -> Tensor:
        """The squared error of the noise (B,) for that of the prediction at t (B,)."""

    @abstractmethod
    def loss_weights(self, t: Tensor, gamma: float) -> Tensor:
        """min-SNR weights (B,) of the prediction's squared error at t (B,).

        Source: Min-SNR, arXiv 2303.09556.
        """

    def timesteps(self, shares: Tensor) -> Tensor:
        """The timesteps (B,) at shares (B,) of the schedule in [0, 1), int64."""
        return (shares * len(self)).long()

    def add_noise(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """z_t = signal(t)·z + sigma(t)·ε for t (B,), of the shape of `clean` (B, …)."""
        return _beside(self.signal(t), clean) * clean + _beside(self.sigma(t), clean) * noise

    def snr(self, t: Tensor) -> Tensor:
        """The signal-to-noise ratio signal²/sigma² at t, of the shape of t."""
        return self.signal(t).square() / self.sigma(t).square().clamp(min=1e-8)


class DdpmSchedule(NoiseSchedule):
    """The variance-preserving schedule of DDPM: signal² + sigma² = 1, both from ᾱ (T,).

    Source: DDPM, arXiv 2006.11239; v-prediction, arXiv 2202.00512.
    """

    alphas_cumprod: Tensor

    def __init__(self, alphas_cumprod: Tensor, prediction: Prediction) -> None:
        super().__init__()
        self.prediction = prediction
        self.register_buffer("alphas_cumprod", alphas_cumprod.float(), persistent=False)

    def __len__(self) -> int:
        return len(self.alphas_cumprod)

    def signal(self, t: Tensor | int) -> Tensor:
        """√ᾱ_t."""
        return self.alphas_cumprod[t].sqrt()

    def sigma(self, t: Tensor | int) -> Tensor:
        """√(1−ᾱ_t)."""
        return (1 - self.alphas_cumprod[t]).sqrt()

    def target(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """ε, or v = √ᾱ ε − √(1−ᾱ) z."""
        if self.prediction == "epsilon":
            return noise
        return _beside(self.signal(t), clean) * noise - _beside(self.sigma(t), clean) * clean

    def predicted_clean(self, z_t: Tensor, prediction: Tensor, t: Tensor) -> Tensor:
        """(z_t − √(1−ᾱ) ε)/√ᾱ, or √ᾱ z_t − √(1−ᾱ) v."""
        signal, sigma = _beside(self.signal(t), z_t), _beside(self.sigma(t), z_t)
        if self.prediction == "epsilon":
            return (z_t - sigma * prediction) / signal.clamp(min=1e-2)
        return signal * z_t - sigma * prediction

    def noise_error(self, error: Tensor, t: Tensor) -> Tensor:
        """ε − ε̂ = √ᾱ (v − v̂)."""
        return error if self.prediction == "epsilon" else self.alphas_cumprod[t] * error

    def snr(self, t: Tensor) -> Tensor:
        """ᾱ/(1−ᾱ)."""
        abar = self.alphas_cumprod[t]
        return abar / (1 - abar).clamp(min=1e-8)

    def loss_weights(self, t: Tensor, gamma: float) -> Tensor:
        """min(1, γ/SNR) for ε and min(1, γ/(SNR+1)) for v: 1 at every noisy timestep.

        For ε that is min(SNR, γ)/SNR, as in the paper. For v the paper and diffusers' examples have
        min(SNR, γ)/(SNR+1), which is 0 at zero terminal SNR, where sampling begins; see
        docs/decisions/2026-11-26-the-weight-of-noisy-timesteps.md.
        """
        snr = self.snr(t)
        return gamma / (snr if self.prediction == "epsilon" else snr + 1).clamp(min=gamma)


def _beside(factors: Tensor, x: Tensor) -> Tensor:
    """A factor a row (B,), to be multiplied with x (B, …)."""
    return factors.view(-1, *[1] * (x.ndim - 1))
