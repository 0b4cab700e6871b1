"""The one way from prompts to images, used by previews, `evaluate` and `generate` alike.

It is the base's own sampler and scheduler, so an export gives the same image in plain diffusers. An
image of seed s starts from `torch.Generator("cpu").manual_seed(s)` and from nothing else, whatever
the batch size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from unidiff_cli.errors import UsageError
from unidiff_cli.progress import Counter

if TYPE_CHECKING:
    from PIL.Image import Image

    from unidiff_cli.data.buckets import Size
    from unidiff_cli.models.base import BaseModel
    from unidiff_cli.models.guidance import Guidance


def generate_images(
    base: BaseModel,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int,
    guidance: Guidance,
    negative: str = "",
    size: Size | None = None,
    batch_size: int = 8,
    on_progress: Counter | None = None,
    on_step: Callable[[], None] | None = None,
) -> Iterator[Image]:
    """One RGB image a prompt, in order; each depends on its prompt, its seed and the size only.

    The size is the base's default where none is given. `on_step` is called after each denoising
    step of a batch; what it raises ends the sampling.

    Raises UsageError for more steps than the base's schedule has.
    """
    if steps > len(base.schedule):
        raise UsageError(
            f"generate.steps is {steps}, and the base's schedule has {len(base.schedule)} steps.",
            f"Take 1 to {len(base.schedule)}.",
        )
    for start in range(0, len(prompts), batch_size):
        stop = min(start + batch_size, len(prompts))
        images = base.generate(
            prompts[start:stop],
            seeds[start:stop],
            steps=steps,
            guidance=guidance,
            negative=negative,
            size=size,
            on_step=on_step,
        )
        if on_progress:
            on_progress(stop, len(prompts))
        yield from images
