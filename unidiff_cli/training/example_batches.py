"""Batches in the shape of a run's, for a trial of its steps: no image is read, none cached."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from unidiff_cli.config.schema import Recipe
from unidiff_cli.data.batch import Batch
from unidiff_cli.data.shards import Shards
from unidiff_cli.objectives import general_images, needs_of
from unidiff_cli.project.project import Project
from unidiff_cli.training.job import Job

if TYPE_CHECKING:
    from unidiff_cli.models.base import BaseModel

# A base → batches without tensors, each a step of a trial.
Batches = Callable[["BaseModel"], Iterable[Batch]]


def batches_of(project: Project, recipe: Recipe, world: int = 1) -> Batches:
    """The first batches of a run over a prepared catalogue, of the first of `world` processes.

    Their blocks of like samples are left out: they may ask the base itself.
    """
    plain = recipe.model_copy(update={"train": recipe.train.model_copy(update={"alike": 0.0})})
    shards = Shards.of(project)
    job = Job.without_cache(project, plain, shards)

    def batches(base: BaseModel) -> Iterator[Batch]:
        samples = job.training_samples(base, 0, world)
        yield from (samples.batch(step, {}) for step in _steps(recipe))

    return batches


def batches_in_pairs(recipe: Recipe, world: int = 1) -> Batches:
    """Batches of no catalogue: captions that all differ, two of each product."""
    size = recipe.train.batch_size // world
    seen = min(recipe.train.denoise_batch // world or size, size)
    general = general_images(recipe.active().values())

    def batches(base: BaseModel) -> Iterator[Batch]:
        for step in _steps(recipe):
            ids, captions = torch.arange(size), [f"thing {i}" for i in range(size)]
            batch = Batch(step, list(range(size)), [], captions, ids, ids // 2)
            batch.denoise_rows = None if seen == size else [i * size // seen for i in range(seen)]
            batch.denoise_positions = list(range(seen))
            batch.prior = general.batch(step, range(seen)) if general else None
            yield batch

    return batches


def _steps(recipe: Recipe) -> tuple[int, int]:
    """A plain step, after which the optimiser has its state, and one that measures gradients."""
    return 1, recipe.train.measure_gradients_every or 2


def filled(batch: Batch, base: BaseModel, recipe: Recipe) -> Batch:
    """The batch with random tensors: of its own rows, and of general images."""
    needs, cached = needs_of(recipe.active().values()), recipe.train.cache_latents
    size = len(batch.positions)
    seen = size if batch.denoise_rows is None else len(batch.denoise_rows)
    tensors: dict[str, Any] = {}
    if needs.clip_pixels:
        tensors["clip_pixels"] = _like(base.clip_pixels([blank()]), size)
    if needs.latents and cached:
        tensors["latents"] = _latents(base, seen)
    elif needs.latents:
        tensors["diffusion_pixels"] = _like(base.diffusion_pixels([blank()]), seen)
    if needs.frozen_image_embeds and cached:
        tensors["frozen_image_embeds"] = torch.randn(size, base.dimension)
    prior = _general(batch.prior, base) if batch.prior else None
    return replace(batch, prior=prior, **tensors)


def _general(prior: Batch, base: BaseModel) -> Batch:
    count = len(prior.positions)
    return replace(
        prior,
        latents=_latents(base, count),
        clip_pixels=_like(base.clip_pixels([blank()]), count),
        frozen_image_embeds=torch.randn(count, base.dimension),
        frozen_text_embeds=torch.randn(count, base.dimension),
    )


def _latents(base: BaseModel, count: int) -> Tensor:
    """Means and deviations as the cache has them, float16 (count, 2c, h, w)."""
    channels, height, width = base.latent_shape
    return torch.rand(count, 2 * channels, height, width).half()


def _like(one: Tensor, count: int) -> Tensor:
    """Random bytes of the shape of one image's tensor (1, …), for `count` images."""
    return torch.randint(0, 256, (count, *one.shape[1:]), dtype=torch.uint8)


def blank() -> Image.Image:
    """An image, for its shape once it is preprocessed."""
    return Image.new("RGB", (64, 64))
