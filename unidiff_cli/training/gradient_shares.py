"""Factors that give one term's gradient a set share of another's, on the towers that both train.

Terms of a sum move a tower by the size of their gradients, whatever they are worth. Here the norm
of one is measured every so many steps against the other's, and multiplied to be a share of it until
the next measurement: VQGAN's adaptive weight (arXiv 2012.09841, equation 7) with a share to choose;
GradNorm (arXiv 1711.02257) is the idea for several terms. The two places and the smoothing are
ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor, nn

from unidiff_cli.config.train import GradientShares, Train
from unidiff_cli.errors import UsageError, WorkError
from unidiff_cli.models.gradient_cut import GradientFactors
from unidiff_cli.training.module import TrainingModule
from unidiff_cli.training.optimizer import shared_text_parameters

# A ratio of two norms lies between 1/MOST_RATIO and MOST_RATIO.
MOST_RATIO = 1e4
# Whose gradients meet at each place: the one that is scaled, and the one that it has a share of.
MEETING = {"text": ("generation", "retrieval"), "denoiser": ("features", "prediction")}


class ShareKeeper:
    """The factors in force. `ratios` hold by place how often one norm goes into the other.

    They are numbers of the whole batch, so every process has the same, and a checkpoint keeps them.
    """

    def __init__(self, wanted: GradientShares) -> None:
        self.wanted: dict[str, float] = {k: v for k, v in wanted if v is not None}
        self.ratios: dict[str, float] = {}

    def due(self, step: int, every: int) -> bool:
        """Whether the gradients of a step (0-based) are measured.

        So are those of every step before a share could be measured.
        """
        return bool(every) and (step % every == 0 or bool(self.wanted.keys() - self.ratios.keys()))

    def measure(self, place: str, scaled: Tensor, other: Tensor) -> None:
        """Takes over the norms of what is to be scaled and of the other gradient, both unscaled.

        Half of the measurement counts, and half of those before it, by their logarithms: the norms
        of single batches scatter. Raises WorkError where the other is 0.
        """
        if place not in self.wanted:
            return
        part, whole = float(scaled), float(other)
        # The step ends with its own message.
        if not math.isfinite(part + whole):
            return
        if not whole:
            raise WorkError(
                f"train.gradient_shares.{place} is a share of the gradient by {MEETING[place][1]}, "
                "and that is 0.",
                f"Turn it off: --set train.gradient_shares.{place}=null",
            )
        # No row of this batch counted; there was nothing to scale.
        if not part:
            return
        ratio = min(max(whole / part, 1 / MOST_RATIO), MOST_RATIO)
        self.ratios[place] = math.sqrt(self.ratios.get(place, ratio) * ratio)

    def factor(self, place: str) -> float | None:
        """What the gradient is multiplied with; None: nothing asked for, or nothing measured."""
        if place not in self.ratios:
            return None
        return self.wanted[place] * self.ratios[place]

    @property
    def factors(self) -> GradientFactors:
        """Those of every place."""
        return GradientFactors(self.factor("text"), self.factor("denoiser"))

    def load(self, ratios: Mapping[str, float]) -> None:
        """Continues with the ratios of a checkpoint."""
        self.ratios = dict(ratios)


def twice_taught(module: TrainingModule) -> list[nn.Parameter]:
    """The trained parameters of the denoiser where one objective's gradient comes through its
    features and another's through its prediction, at every step; else none."""
    predicts = any("denoiser" in objective.covers for objective in module.objectives.values())
    if not (predicts and module.needs.features):
        return []
    return [p for p in module.base.parameter_groups()["denoiser"] if p.requires_grad]


def check_shares(module: TrainingModule, options: Train) -> None:
    """Raises UsageError for a share, or for PCGrad, of gradients that do not meet."""
    shares = options.gradient_shares
    if not shared_text_parameters(module):
        for key, off, asked in (
            ("pcgrad", "false", options.pcgrad),
            ("gradient_shares.text", "null", shares.text is not None),
        ):
            if asked:
                raise UsageError(
                    f"train.{key} is on, and no text tower trains that both retrieval and "
                    "generation read.",
                    f"Turn it off: --set train.{key}={off}",
                )
    if shares.denoiser is not None and not twice_taught(module):
        raise UsageError(
            "train.gradient_shares.denoiser is set, and no denoiser trains both by its prediction "
            "and by features that an objective reads.",
            "Turn it off: --set train.gradient_shares.denoiser=null",
        )
