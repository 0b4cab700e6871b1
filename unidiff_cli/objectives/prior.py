"""Prior preservation: the denoise loss on general captions and the images that the base itself drew of them.

As DreamBooth (arXiv 2208.12242) keeps what a class looked like, here for whatever a catalogue does not show.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, field_validator

from unidiff_cli.data.captions import read_prompts
from unidiff_cli.objectives import Objective
from unidiff_cli.objectives._losses import squared_errors

if TYPE_CHECKING:
    from torch import Tensor

    from unidiff_cli.models.forward import ForwardPass


GENERAL = Path(__file__).parent / "prior.txt"


class Prior(Objective):
    """Keeps drawing what the base drew of general captions."""

    reads: ClassVar[frozenset[str]] = frozenset({"text_states", "prior"})
    captions: str | None = Field(
        None,
        description="a text file of general captions, one a line; null: some 80 that come with unidiff",
    )
    images: Annotated[
        int, Field(ge=1, description="images the base draws of them, once, into cache/")
    ] = 200
    every: Annotated[
        int,
        Field(
            ge=1, description="one of these for so many samples of the catalogue that the UNet sees"
        ),
    ] = 4
    snr_gamma: Annotated[float, Field(gt=0)] | None = Field(
        5.0, description="min-SNR γ; null weighs all alike"
    )

    @field_validator("captions")
    @classmethod
    def _whole_path(cls, value: str | None) -> str | None:
        return value and str(Path(value).expanduser().absolute())  # a run is resumed from anywhere

    def read(self) -> list[str]:
        """The caption of each image. Raises UsageError for a file that holds none."""
        captions = read_prompts(Path(self.captions) if self.captions else GENERAL)
        return [captions[i % len(captions)] for i in range(self.images)]

    def loss(self, forward: ForwardPass) -> tuple[Tensor, dict[str, Tensor]]:
        # Of the samples that the UNet sees, as `General` counts: train.denoise_batch bounds these with the others.
        chosen = forward.timesteps.new_tensor([r % self.every == 0 for r in forward.ranks])
        if forward.prior is None:  # none falls to this process; the UNet keeps a gradient
            errors = (forward.base.unet.conv_in.weight.sum() * 0).expand(0)
        else:
            errors = squared_errors(forward.prior, self.snr_gamma)
        return forward.mean_of(errors, chosen), {}
