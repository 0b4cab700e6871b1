"""The one denoising sampler: previews, evaluate and generate draw with it.

It is the base's own diffusers pipeline and scheduler, so an export draws the same image in plain
diffusers. Image i of seed s starts from `torch.Generator("cpu").manual_seed(s + i)` and nothing else, whatever
the batch size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from PIL import Image

if TYPE_CHECKING:
    from unidiff_cli.models.families.stable_diffusion import StableDiffusion as Base


@torch.no_grad()
def generate_images(
    base: Base,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int,
    guidance: float,
    negative: str = "",
    batch_size: int = 8,
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator[Image.Image]:
    """One image a prompt, in order; each depends on its prompt and its seed only."""
    pipeline, size = base.pipeline, base.image_size
    pipeline.text_encoder = base.clip.text_model
    for start in range(0, len(prompts), batch_size):
        some = list(prompts[start : start + batch_size])
        generators = [
            torch.Generator("cpu").manual_seed(s) for s in seeds[start : start + batch_size]
        ]
        yield from pipeline(
            some, negative_prompt=[negative] * len(some) if negative else None, generator=generators,
            num_inference_steps=steps, guidance_scale=guidance, height=size, width=size,
        ).images  # fmt: skip
        if on_progress:
            on_progress(min(start + batch_size, len(prompts)), len(prompts))
