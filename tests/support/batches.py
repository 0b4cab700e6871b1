"""Batches of random tensors, without shards, and forward passes over them."""

import torch

from unidiff_cli.data.batch import Batch
from unidiff_cli.data.by_shape import ByShape
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


def with_prior(batch: Batch, every: int = 2, below: int = 10**9) -> Batch:
    """The batch with general captions and random images, as `PriorDataset` brings them.

    One for each sample at a position below `below` that `every` divides.
    """
    numbers = [p // every for p in batch.positions if p % every == 0 and p < below]
    if numbers:
        prior = batch_of(len(numbers))
        prior.positions = [-1 - n for n in numbers]
        prior.captions = [f"place {n}" for n in numbers]
        made = [_general(n) for n in numbers]
        for name in made[0]:
            setattr(prior, name, torch.stack([each[name] for each in made]))
        batch.prior = prior
    return batch


def _general(number: int) -> dict[str, torch.Tensor]:
    """The tensors of a general caption and its image, by its number alone."""
    generator = torch.Generator().manual_seed(number)
    # As many numbers as the tiny base's have.
    embeds = torch.randn(2, 16, generator=generator)
    image, text = embeds / embeds.norm(dim=1, keepdim=True)
    return {
        "latents": torch.randn(8, 8, 8, generator=generator).abs(),
        "clip_pixels": torch.randint(0, 256, (3, 32, 32), generator=generator, dtype=torch.uint8),
        "frozen_image_embeds": image,
        "frozen_text_embeds": text,
    }


def in_shapes(batch: Batch, shapes=((8, 8), (10, 6), (7, 9))) -> Batch:
    """The batch with random latents of these shapes by turns."""
    numbers = [n % len(shapes) for n in range(len(batch.positions))]
    rows = [[n for n, own in enumerate(numbers) if own == k] for k in range(len(shapes))]
    generator, kept = torch.Generator().manual_seed(1), [own for own in rows if own]
    parts = [
        torch.randn(len(own), 8, *shape, generator=generator).abs()
        for own, shape in zip(rows, shapes, strict=True)
        if own
    ]
    batch.latents = ByShape(parts, kept)
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
