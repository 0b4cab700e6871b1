"""TODO docstring."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from unidiff_cli.data.shards import Row, Shards

Transform = Callable[[Sequence[Image.Image]], Tensor]


@dataclass
class Batch:
    """One step's samples on this process. `positions` count samples over the whole run, all processes together."""

    step: int
    positions: list[int]
    rows: list[Row]
    captions: list[str]
    caption_ids: Tensor  # (B,) int64, equal for equal captions
    group_ids: Tensor  # (B,) int64, equal within a product or duplicate group
    clip_pixels: Tensor | None = None  # (B, 3, s, s) uint8
    diffusion_pixels: Tensor | None = None  # (b, 3, S, S) uint8
    latents: Tensor | None = None  # (b, 2c, h, w): posterior mean and deviation
    frozen_image_embeds: Tensor | None = None  # (B, D) unit, by the base's CLIP as it was
    drawn: list[int] | None = (
        None  # the b rows that the UNet sees, whose latents or diffusion_pixels these are; None: all B
    )
    ranks: list[int] | None = (
        None  # the b rows' numbers among all that UNets see in the run; None: their positions
    )
    prior: Batch | None = (
        None  # general captions and the base's own images of them; None where none falls to this process
    )


def open_image(shards: Shards, row: Row) -> Image.Image:
    """The decoded image of a row, RGB. Raises Damaged where the shard's bytes are not what was written."""
    return Image.open(io.BytesIO(shards.image_bytes(row)), formats=["JPEG", "PNG", "WEBP"]).convert(
        "RGB"
    )
