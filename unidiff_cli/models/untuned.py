"""The denoiser that a model was tuned from, for guidance by its prediction without a caption.

An export whose guidance starts from it brings it along, in half precision, with what it reads of
the empty caption (domain guidance, Zhong et al., arXiv 2504.01521).
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from unidiff_cli.models import unet as unet_passes
from unidiff_cli.models.reading import read_part, reading
from unidiff_cli.models.unet import UnetText

# In the folder of an export, and the tensors of the empty caption in that.
FOLDER, EMPTY = "untuned", "empty_caption.safetensors"
STATES = "states"


@dataclass(frozen=True)
class Untuned:
    """A UNet and what it reads of the empty caption, both as they were before the tuning.

    `parts` gives them; those of a folder are read when they are first used.
    """

    parts: Callable[[], tuple[Any, UnetText]]

    @classmethod
    def copied(cls, unet: Any, empty: UnetText) -> Untuned:
        """A copy of a UNet, rounded as `save` writes it, so that it predicts as the saved one."""
        kept = deepcopy(unet).half().to(unet.dtype), empty
        return cls(lambda: kept)

    @classmethod
    def beside(cls, folder: Path) -> Untuned | None:
        """The one in an export's folder; None where it has none."""
        place = folder / FOLDER
        return cls(cache(partial(_read, place))) if place.is_dir() else None

    def save(self, folder: Path) -> None:
        """Writes it into the folder of an export, as safetensors."""
        unet, empty = self.parts()
        deepcopy(unet).half().save_pretrained(folder / FOLDER, safe_serialization=True)
        tensors = {STATES: empty.states, **(empty.added or {})}
        save_file({n: x.contiguous() for n, x in tensors.items()}, folder / FOLDER / EMPTY)

    def prediction(
        self, count: int, device: torch.device, sizes: Tensor | None = None
    ) -> Callable[[Tensor, Tensor], Tensor]:
        """Its prediction (B, c, h, w) without a caption, for B = count latents z_t and one t.

        `sizes` (B, 6) are those of their images, where the UNet reads them. Raises Damaged or
        EnvironmentProblem for a folder that cannot be read.
        """
        unet, empty = self.parts()
        text = empty.expand(count, device).of_sizes(sizes)
        return partial(unet_passes.whole, unet.to(device), text=text)


def _read(folder: Path) -> tuple[Any, UnetText]:
    # Whoever only embeds images loads no diffusers.
    from diffusers import UNet2DConditionModel

    with reading("The export's", folder / EMPTY):
        tensors = load_file(folder / EMPTY)
        empty = UnetText(tensors.pop(STATES), tensors or None)
    return read_part(UNet2DConditionModel, folder).eval().requires_grad_(False), empty
