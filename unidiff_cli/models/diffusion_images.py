"""Images as an autoencoder reads them: cut to a square, or in buckets nearly whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from unidiff_cli.data.buckets import Buckets, Size, grouped
from unidiff_cli.data.by_shape import ByShape, Maps
from unidiff_cli.models.clip import pixels, square


def covered(images: Sequence[Image.Image], size: Size) -> Tensor:
    """Images scaled to cover a size, the middle kept; uint8 (n, 3, H, W).

    A square one is cut as CLIP's preprocessing does it.
    """
    if size.is_square:
        return pixels(square(size.width), images)
    fit = Image.Resampling.BICUBIC
    return torch.stack([pil_to_tensor(ImageOps.fit(image, size, fit)) for image in images])


@dataclass(frozen=True)
class DiffusionImages:
    """Images to the pixels that a denoiser learns: squares of a side, or sizes near their own.

    Loader processes may be given one.
    """

    side: int
    buckets: Buckets | None = None

    def __call__(self, images: Sequence[Image.Image]) -> Maps:
        """uint8 (n, 3, H, W), by shape where there are buckets."""
        if self.buckets is None:
            return covered(images, Size.square(self.side))
        groups = grouped(self.buckets.nearest(*image.size) for image in images)
        parts = [covered([images[i] for i in rows], size) for size, rows in groups.items()]
        return ByShape(parts, list(groups.values()))
