"""Classifier-free guidance: how far an image is taken towards its prompt. Loads no torch.

A denoiser's prediction for a caption, p(c), is replaced by p(∅) + w·(p(c) − p(∅)), where ∅ is the
empty caption or a negative prompt (Ho & Salimans, arXiv 2207.12598). In domain guidance p(∅) is
that of the base that the model was tuned from (Zhong et al., arXiv 2504.01521).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

# The whole schedule, from no noise to pure noise.
ALWAYS = (0.0, 1.0)


@dataclass(frozen=True)
class Guidance:
    """How predictions are guided: the scale w, where it is used, and how much is rescaled.

    A scale of 1 or less is none, as in diffusers: no pass without the caption is made. Outside
    `interval`, shares t/T of the schedule with 0 the clean end, there is none either (Kynkäänniemi
    et al., arXiv 2404.07724). `rescale` is φ of Lin et al. (arXiv 2305.08891, 3.4), against the
    contrast that guidance adds at zero terminal SNR. `unconditional` says whose p(∅) it is: the
    model's own, or its base's. For a negative prompt it is always the model's own.
    """

    scale: float
    interval: tuple[float, float] = ALWAYS
    rescale: float = 0.0
    unconditional: Literal["own", "base"] = "own"

    def applies(self, share: float) -> bool:
        """Whether predictions at a share of the schedule are guided."""
        low, high = self.interval
        return self.scale > 1 and low <= share <= high

    def combine(self, unconditional: Tensor, conditional: Tensor) -> Tensor:
        """The guided prediction (b, …) of p(∅) and p(c)."""
        guided = unconditional + self.scale * (conditional - unconditional)
        if not self.rescale:
            return guided
        axes = list(range(1, guided.ndim))
        deviation = conditional.std(axes, keepdim=True) / guided.std(axes, keepdim=True)
        return self.rescale * deviation * guided + (1 - self.rescale) * guided

    def __str__(self) -> str:
        """In words: 2, 2 between 10% and 80% of noise, 2, rescale 0.7, or 2, from the base."""
        low, high = self.interval
        between = "" if self.interval == ALWAYS else f" between {low:.0%} and {high:.0%} of noise"
        rescale = f", rescale {self.rescale:g}" if self.rescale else ""
        source = ", from the base's prediction" if self.unconditional == "base" else ""
        return f"{self.scale:g}{between}{rescale}{source}"
