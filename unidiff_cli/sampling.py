"""The one denoising sampler: previews, evaluate and generate draw with it.

It is the base's own diffusers pipeline and scheduler, so an export draws the same picture in plain
diffusers. Picture i of seed s starts from `torch.Generator("cpu").manual_seed(s + i)` and nothing else, whatever
the batch size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from .bases.stable_diffusion import StableDiffusion as Base


@torch.no_grad()
def sample(
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
    """One picture a prompt, in order; each depends on its prompt and its seed only."""
    pipeline, size = base.pipeline, base.image_size
    pipeline.text_encoder = base.clip.text_model
    for start in range(0, len(prompts), batch_size):
        some = list(prompts[start : start + batch_size])
        generators = [torch.Generator("cpu").manual_seed(s) for s in seeds[start : start + batch_size]]
        yield from pipeline(
            some, negative_prompt=[negative] * len(some) if negative else None, generator=generators,
            num_inference_steps=steps, guidance_scale=guidance, height=size, width=size,
        ).images  # fmt: skip
        if on_progress:
            on_progress(min(start + batch_size, len(prompts)), len(prompts))


def sheet(
    pictures: Sequence[Image.Image], labels: Sequence[str] = (), columns: int = 4, side: int = 256
) -> Image.Image:
    """A contact sheet on white, each picture fitted into a square of `side` pixels with a line of text below."""
    columns = max(1, min(columns, len(pictures)))
    rows, line = -(-len(pictures) // columns), 18 if labels else 0
    page = Image.new("RGB", (columns * (side + 8) + 8, rows * (side + line + 8) + 8), "white")
    pen = ImageDraw.Draw(page)
    for i, picture in enumerate(pictures):
        scale = side / max(picture.size)
        resample = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
        fitted = picture.resize(
            (max(1, round(picture.width * scale)), max(1, round(picture.height * scale))), resample
        )
        x, y = 8 + (i % columns) * (side + 8), 8 + (i // columns) * (side + line + 8)
        page.paste(fitted, (x + (side - fitted.width) // 2, y + (side - fitted.height) // 2))
        if i < len(labels):
            text = labels[i]
            while text and pen.textlength(text) > side:
                text = text[:-2]
            pen.text((x, y + side + 2), text if text == labels[i] else text + "…", fill="black")
    return page
