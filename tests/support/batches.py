"""Batches of random tensors, without shards, and forward passes over them."""

import torch

from unidiff_cli.data.batch import Batch
from unidiff_cli.models.forward import ForwardOptions, ForwardPass

# What one process of several takes of a batch.
SHARED = ("positions", "captions", "caption_ids", "group_ids", "clip_pixels", "latents")


def batch_of(size: int, step: int = 0) -> Batch:
    """A batch of random images and latents, its captions all different."""
    generator = torch.Generator().manual_seed(size)
    pixels = torch.randint(0, 256, (size, 3, 32, 32), generator=generator, dtype=torch.uint8)
    return Batch(
        step,
        list(range(step * size, (step + 1) * size)),
        [],
        [f"thing {i}" for i in range(size)],
        torch.arange(size),
        torch.arange(size),
        clip_pixels=pixels,
        latents=torch.randn(size, 8, 8, 8, generator=generator).abs(),
    )


def with_prior(batch: Batch, every: int = 2) -> Batch:
    """The batch with general captions of random latents, as `PriorDataset` brings them."""
    numbers = [p // every for p in batch.positions if p % every == 0]
    if numbers:
        prior = batch_of(len(numbers))
        prior.positions = [-1 - n for n in numbers]
        prior.captions = [f"place {n}" for n in numbers]
        prior.clip_pixels = None
        generators = [torch.Generator().manual_seed(n) for n in numbers]
        prior.latents = torch.stack([torch.randn(8, 8, 8, generator=g).abs() for g in generators])
        batch.prior = prior
    return batch


def share_of(batch: Batch, rank: int, world: int) -> Batch:
    """The rows of one process."""
    size = len(batch.positions) // world
    for name in SHARED:
        setattr(batch, name, getattr(batch, name)[rank * size : (rank + 1) * size])
    return batch


def forward_of(base, batch: Batch, needs, training: bool = False) -> ForwardPass:
    """The batch as a base sees it, at seed 0."""
    return ForwardPass(base, batch, needs, ForwardOptions(seed=0, training=training))


def mean_colours(images) -> torch.Tensor:
    """A transform that is quick to compute: the mean colour of each image, (n, 3)."""
    return torch.stack([torch.tensor(i.resize((1, 1)).getpixel((0, 0))) for i in images])
