"""Denoise loss: how well the denoiser predicts on held-out images, with the same noise and timesteps for every model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.results import FigureSpec, PerItem

if TYPE_CHECKING:
    from unidiff_cli.evaluation.outputs import ModelOutputs


class DenoiseLoss(Metric):
    """The mean squared error of the base's own target (ε or v), unweighted, so it is not the min-SNR loss that train logs.

    Four timesteps an image, one from each quarter of the schedule; by the image's caption, none dropped.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"denoise_errors"})
    figures: ClassVar[Mapping[str, FigureSpec]] = {
        "denoise_loss": FigureSpec("Held-out denoise loss", "generation", "lower", headline=False)
    }

    def compute(self, outputs: ModelOutputs) -> dict[str, float]:
        return {"denoise_loss": float(outputs.denoise_errors.mean())}

    def per_item(self, outputs: ModelOutputs) -> dict[str, PerItem]:
        groups = [row.group for row in outputs.eval_set.denoised_rows]
        return {"denoise_loss": PerItem(outputs.denoise_errors, groups)}

    def notes(self, outputs: ModelOutputs) -> list[str]:
        return [
            f"The denoiser's squared error, unweighted, over {len(outputs.denoise_errors):,} held-out images at four timesteps each; "
            "the same noise for every model. Comparable between models of one base only."
        ]
