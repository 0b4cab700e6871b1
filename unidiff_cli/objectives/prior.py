"""Prior preservation: the denoise loss on general captions and the base's own images of them.

As DreamBooth (arXiv 2208.12242) keeps what a class looked like, here for whatever a catalogue does
not show.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, field_validator

from unidiff_cli.data.captions import read_prompts
from unidiff_cli.models.needs import Needs, Tower
from unidiff_cli.objectives import GenerateImages, Objective
from unidiff_cli.objectives._losses import squared_errors
from unidiff_cli.project.files import digest

if TYPE_CHECKING:
    from torch import Tensor

    from unidiff_cli.data.dataset import PriorDataset
    from unidiff_cli.models.forward import ForwardPass

GENERAL = Path(__file__).parent / "prior.txt"


class Prior(Objective):
    """Keeps generating what the base generated of general captions.

    With weight 0 it only brings these captions and images, for an `anchor` on them.
    """

    captions: str | None = Field(
        None,
        description="a text file of general captions, one a line; null: 400 that come with unidiff",
    )
    images: Annotated[
        int, Field(ge=1, description="images the base generates of them, once, into cache/")
    ] = 200
    every: Annotated[
        int,
        Field(
            ge=1,
            description="one of these for so many samples of the catalogue that the denoiser sees",
        ),
    ] = 4
    snr_gamma: Annotated[float, Field(gt=0)] | None = Field(
        5.0, description="min-SNR γ; null weighs all alike"
    )

    @property
    def needs(self) -> Needs:
        """No pass of the text tower for the denoiser where the images are for others only."""
        return Needs(text_states=self.weight > 0, prior=True)

    @property
    def trains(self) -> frozenset[Tower]:
        return frozenset({"text", "denoiser"} if self.weight else ())

    @field_validator("captions")
    @classmethod
    def _whole_path(cls, value: str | None) -> str | None:
        # A run is resumed from anywhere.
        return value and str(Path(os.path.expanduser(value)).absolute())

    def read(self) -> list[str]:
        """The caption of each image. Raises UsageError for a file that holds none."""
        captions = read_prompts(Path(self.captions) if self.captions else GENERAL)
        return [captions[i % len(captions)] for i in range(self.images)]

    def inputs(self) -> dict[str, str]:
        return {"captions": digest(self.read())}

    def data(self, generate: GenerateImages, seed: int) -> PriorDataset:
        from unidiff_cli.data.dataset import PriorDataset

        captions = self.read()
        return PriorDataset(captions, generate(captions), self.every, seed)

    def loss(self, forward: ForwardPass) -> tuple[Tensor, dict[str, Tensor]]:
        if not self.weight:
            return forward.base.logit_scale.new_zeros(()), {}
        # Of the samples that the denoiser sees, as `PriorDataset` counts: train.denoise_batch
        # bounds these with the others.
        chosen = forward.denoise_positions % self.every == 0
        if forward.prior is None:
            # None falls to this process; the denoiser keeps a gradient.
            errors = forward.zero("denoiser").expand(0)
        else:
            errors = squared_errors(forward.prior, self.snr_gamma)
        return forward.mean_of(errors, chosen), {}
