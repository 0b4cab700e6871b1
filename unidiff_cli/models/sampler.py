"""The one sampler: previews, evaluation and generation make their images with it.

It is the base's own diffusers pipeline and scheduler, so an export gives the same image in plain
diffusers. An image of seed s starts from `torch.Generator("cpu").manual_seed(s)` and from nothing
else, whatever the batch size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from PIL import Image

if TYPE_CHECKING:
    from unidiff_cli.models.base import BaseModel


@torch.no_grad()
def generate_images(
    base: BaseModel,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int,
    guidance: float,
    negative: str = "",
    batch_size: int = 8,
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator[Image.Image]:
    """One RGB image for each prompt, in order; each depends on its prompt and its seed only."""
    pipeline, size = base.pipeline, base.image_size
    pipeline.text_encoder = base.clip.text_model
    for start in range(0, len(prompts), batch_size):
        batch = list(prompts[start : start + batch_size])
        batch_seeds = seeds[start : start + batch_size]
        images = pipeline(
            batch,
            negative_prompt=[negative] * len(batch) if negative else None,
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in batch_seeds],
            num_inference_steps=steps,
            guidance_scale=guidance,
            height=size,
            width=size,
        ).images
        if on_progress:
            on_progress(min(start + batch_size, len(prompts)), len(prompts))
        yield from images


def scheduler_name(base: BaseModel) -> str:
    """The class of the scheduler that the base samples with."""
    return type(base.pipeline.scheduler).__name__
