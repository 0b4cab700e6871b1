"""Which features of the denoiser an objective reads, and how a map becomes a row of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

# Rows and columns of a map that is compared whole: 16 × d_u numbers an image at most.
MAP_SIDE = 4


@dataclass(frozen=True)
class FeatureQuery:
    """The features of a layer, of images noised to t < max_timestep.

    With prompt None they come from a half pass of their own under the empty prompt: with the
    caption as prompt the text would leak into a "visual" feature. With "caption" they are those of
    the denoise pass, at its timesteps and at no cost. `same_timestep`: one t for all images of a
    step, of the half pass only; else one for each. `trains`: whether the denoiser gets their
    gradient.
    """

    layer: str
    max_timestep: int
    prompt: Literal["caption"] | None = None
    form: Literal["mean", "map"] = "mean"
    same_timestep: bool = False
    trains: bool = True

    def rows(self, x: Tensor, in_buckets: bool = False) -> Tensor:
        """A map (b, d, h, w) as rows, in fp32 at least: its mean (b, d), or the map itself.

        A map of more than MAP_SIDE rows or columns is averaged down to these first. Maps in
        buckets are all brought to MAP_SIDE of both, so that those of unlike shapes compare.
        """
        precise = torch.promote_types(x.dtype, torch.float32)
        if self.form == "mean":
            return x.mean(dim=(2, 3)).to(precise)
        height, width = (MAP_SIDE if in_buckets else min(n, MAP_SIDE) for n in x.shape[2:])
        return functional.adaptive_avg_pool2d(x.to(precise), (height, width)).flatten(1)
