"""Other views of an image as CLIP reads it: cropped a little and mirrored, or in other colours."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

# The smallest side of a crop, as a share of the image's.
SMALLEST = 0.7
# The share of recoloured images that lose their colours, and the most that brightness changes.
GREY, BRIGHTNESS = 0.3, 0.3
# How much red, green and blue weigh in brightness (ITU-R BT.601).
LUMA = (0.299, 0.587, 0.114)


def mirrored(pixels: Tensor, rows: Sequence[int]) -> Tensor:
    """Pixels (n, 3, h, w), of these rows left and right exchanged."""
    if not rows:
        return pixels
    places = torch.tensor(rows, device=pixels.device)
    return pixels.index_copy(0, places, pixels[places].flip(-1))


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


def recoloured(pixels: Tensor, numbers: Tensor) -> Tensor:
    """uint8 images (n, 3, s, s) in other hues or in grey, by numbers (n, 3) in [0, 1).

    The numbers decide whether the image is grey, by how much of a turn its hues move (a sixth to
    five sixths), and how bright it is. What has no colour keeps none: a white ground stays grey to
    white.
    """
    angle = (1 + 4 * numbers[:, 1]) * torch.pi / 3
    saturation = (numbers[:, 0] >= GREY).to(angle.dtype)
    brightness = 1 + BRIGHTNESS * (2 * numbers[:, 2] - 1)
    same = torch.eye(3, device=pixels.device)
    luma = same.new_tensor(LUMA).expand(3, 3)
    # Hues turn about the axis of greys by Rodrigues' formula.
    axis = same.new_tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / 3**0.5
    cos, sin = (f(angle)[:, None, None] for f in (torch.cos, torch.sin))
    turn = cos * same + sin * axis + (1 - cos) / 3
    colour = saturation[:, None, None] * (same - luma) @ turn @ (same - luma)
    change = brightness[:, None, None] * (luma + colour)
    colours = torch.einsum("nij,njhw->nihw", change, pixels.float())
    return colours.round().clamp(0, 255).to(torch.uint8)
