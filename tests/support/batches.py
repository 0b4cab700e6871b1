"""Batches of random tensors without shards, and a transform that is quick to compute."""

import torch

from unidiff_cli.data.batch import Batch


def batch_of(size: int, step: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(size)
    return Batch(
        step, list(range(step * size, (step + 1) * size)), [], [f"thing {i}" for i in range(size)],
        torch.arange(size), torch.arange(size),
        clip_pixels=torch.randint(0, 256, (size, 3, 32, 32), generator=generator, dtype=torch.uint8),
        latents=torch.randn(size, 8, 8, 8, generator=generator).abs(),
    )  # fmt: skip


def mean_colours(images) -> torch.Tensor:
    """A transform: the mean colour of each image, (n, 3)."""
    return torch.stack([torch.tensor(i.resize((1, 1)).getpixel((0, 0))) for i in images])
