"""Another view of an image as CLIP reads it: mirrored or not, and cropped a little."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

# The smallest side of a crop, as a share of the image's.
SMALLEST = 0.7


def augmented(pixels: Tensor, numbers: Tensor) -> Tensor:
    """Crops of uint8 images (n, 3, s, s), scaled to the same size, by numbers (n, 4) in [0, 1).

    The numbers are the side of the crop, its place across and down, and whether it is mirrored.
    """
    scale = SMALLEST + (1 - SMALLEST) * numbers[:, 0]
    room = 1 - scale
    across, down = (room * (2 * numbers[:, k] - 1) for k in (1, 2))
    mirror = torch.where(numbers[:, 3] < 0.5, -1.0, 1.0)
    zero = torch.zeros_like(scale)
    rows = [torch.stack([scale * mirror, zero, across], 1), torch.stack([zero, scale, down], 1)]
    grid = affine_grid(torch.stack(rows, 1), list(pixels.shape), align_corners=False)
    views = grid_sample(pixels.float(), grid, padding_mode="border", align_corners=False)
    return views.round().clamp(0, 255).to(torch.uint8)
