"""Denoise loss: how well the denoiser predicts on held-out pictures, with the same noise and timesteps for every model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from . import Figure, Items, Metric

if TYPE_CHECKING:
    from ._evidence import Evidence


class DenoiseLoss(Metric):
    """The mean squared error of the base's own target (ε or v), unweighted, so it is not the min-SNR loss that train logs.

    Four timesteps a picture, one from each quarter of the schedule; by the picture's caption, none dropped.
    """

    reads: ClassVar[frozenset[str]] = frozenset({"denoise_errors"})
    figures: ClassVar[Mapping[str, Figure]] = {
        "denoise_loss": Figure("Held-out denoise loss", "pictures", "lower", headline=False)
    }

    def compute(self, evidence: Evidence) -> dict[str, float]:
        return {"denoise_loss": float(evidence.denoise_errors.mean())}

    def items(self, evidence: Evidence) -> dict[str, Items]:
        groups = [row.group for row in evidence.held.denoised_rows]
        return {"denoise_loss": Items(evidence.denoise_errors, groups)}

    def notes(self, evidence: Evidence) -> list[str]:
        return [
            f"The denoiser's squared error, unweighted, over {len(evidence.denoise_errors):,} held-out pictures at four timesteps each; "
            "the same noise for every model. Comparable between models of one base only."
        ]
