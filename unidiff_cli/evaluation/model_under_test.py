"""TODO docstring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from unidiff_cli import machine

if TYPE_CHECKING:
    from unidiff_cli.models.families.stable_diffusion import StableDiffusion as Base


@dataclass(frozen=True)
class ModelUnderTest:
    """A model to measure: a base, an export, or an export blended with its base."""

    name: str
    source: Any  # what `bases.load` takes
    base: Any  # the base it was trained from
    image_size: int
    stamp: str  # a hash that changes with its weights, and with a blend's base
    alpha: float = 1.0  # the export's share; WiSE-FT, arXiv 2109.01903
    by: Literal["clip", "diffdis"] = "clip"  # what looks at images

    def load(self) -> Base:
        """On the GPU where there is one, else on the CPU. Raises UsageError, EnvironmentProblem."""
        from unidiff_cli.models import loading, weights

        model: Base = loading.load_base(self.source, self.image_size).eval()
        if self.alpha < 1:
            before = loading.load_base(self.base, self.image_size)
            before.dual_stream = model.dual_stream  # the base has none to blend it with
            weights.blend(before.state_dict(), model.state_dict(), self.alpha)
            model = before.eval()
        return model.to(machine.device())
