"""Batches of random tensors, without shards."""

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
