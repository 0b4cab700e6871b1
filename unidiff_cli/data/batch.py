"""The samples of one training step: the one place for the names and shapes of its tensors."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from unidiff_cli.data.by_shape import Maps
from unidiff_cli.data.shards import Row, Shards

# Images to one tensor of theirs, (n, 3, h, w) uint8, or to one for each of several shapes.
Transform = Callable[[Sequence[Image.Image]], Maps]


@dataclass
class Batch:
    """One step's samples on this process: B samples, of which the denoiser sees b.

    `positions` count samples over the whole run, all processes together; they key the random
    numbers. What is not loaded for the run's objectives is None.
    """

    step: int
    positions: list[int]
    rows: list[Row]
    captions: list[str]
    # (B,) int64, equal for captions that are equal or say the same.
    caption_ids: Tensor
    # (B,) int64, equal within a product or duplicate group.
    group_ids: Tensor
    # (B, 3, s, s) uint8.
    clip_pixels: Tensor | None = None
    # (b, 3, H, W) uint8, of one shape or, in buckets, of several.
    diffusion_pixels: Maps | None = None
    # (b, 2c, h, w), also of several: mean and standard deviation of the posterior.
    latents: Maps | None = None
    # (B, D), unit, by CLIP as it was before training; the captions' of general ones only.
    frozen_image_embeds: Tensor | None = None
    frozen_text_embeds: Tensor | None = None
    # Which b rows the denoiser sees; None: all B.
    denoise_rows: list[int] | None = None
    # The numbers of these b rows among all that denoisers see in the run; None: their positions.
    denoise_positions: list[int] | None = None
    # (B, k) int64, ids of captions that are true of each image, some of which may stand in other
    # rows; None where captions are as the catalogue has them.
    true_ids: Tensor | None = None
    # The rows whose images CLIP sees in other colours, and cropped, while it trains.
    recoloured: Sequence[int] = ()
    cropped: Sequence[int] = ()
    # The rows whose images CLIP and the denoiser see mirrored; latents are so already.
    mirrored: Sequence[int] = ()
    # General captions and the base's own images of them; None where none falls to this process.
    prior: Batch | None = None


def image_of(data: bytes) -> Image.Image:
    """The decoded image of a shard's bytes, RGB."""
    image = Image.open(io.BytesIO(data), formats=["JPEG", "PNG", "WEBP"])
    if image.mode != "RGB":
        return image.convert("RGB")
    # convert() would copy it.
    image.load()
    return image


def open_image(shards: Shards, row: Row) -> Image.Image:
    """The decoded image of a row, RGB. Raises Damaged where the shard holds other bytes."""
    return image_of(shards.image_bytes(row))
