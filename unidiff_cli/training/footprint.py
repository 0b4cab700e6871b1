"""What a run takes, by part, before anything is loaded: memory, disk and operations.

Some steps of the run itself are made on tensors without memory (`models/skeleton.py`), by the same
module, trainer and optimiser, and every tensor of them is counted. So whatever a recipe switches on
is in it. So are the images that are encoded and generated before the first step, with all weights
in fp32 but a denoiser's that stay, and the previews. Kernels' own work space and the allocator's
gaps are not.

These steps are made as on a processor whatever the machine has, but for what differs on a GPU. So
what is tested without one is what a user with one gets.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unidiff_cli import machine
from unidiff_cli.config.schema import Recipe
from unidiff_cli.models import loading, skeleton
from unidiff_cli.objectives import general_images, needs_of
from unidiff_cli.training.assembly import trainer_of
from unidiff_cli.training.example_batches import Batches, blank, filled
from unidiff_cli.training.job import MOST_VALIDATED
from unidiff_cli.training.optimizer_kinds import state_bytes
from unidiff_cli.training.precision import (
    accelerator_of,
    as_held,
    precision_of,
    round_denoiser,
)
from unidiff_cli.training.precompute import CHUNK
from unidiff_cli.training.tensor_memory import TensorMemory
from unidiff_cli.training.text_states import bytes_of_caption, text_stays
from unidiff_cli.training.trainer import Trainer

if TYPE_CHECKING:
    from unidiff_cli.models.base import BaseModel

# The part of memory that no step takes.
OUTSIDE = "more for the cache or previews"
# The images of a preview where a recipe names no prompts, and the most that it makes at a time.
PREVIEWS, MOST_AT_ONCE = 4, 8


@dataclass(frozen=True)
class Footprint:
    """Bytes and operations of one process of a run."""

    # Bytes by part while a step runs, and OUTSIDE; their sum is the peak.
    memory: dict[str, int]
    # Bytes of one checkpoint, of the exported base, and of what is cached of one image.
    checkpoint: int
    best: int
    export: int
    cached_image: int
    # Floating-point operations of a step.
    flops: int
    # Parameters by tower: all, and those that train.
    parameters: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def peak(self) -> int:
        """Bytes of tensors at the fullest moment of a run."""
        return sum(self.memory.values())

    @property
    def step(self) -> int:
        """Bytes of tensors at the fullest moment of a step."""
        return self.peak - self.memory[OUTSIDE]

    def disk(self, recipe: Recipe, images: int) -> dict[str, int]:
        """Bytes by part of what a run over so many images leaves on the disk at most."""
        kept = recipe.train.keep_checkpoints + 1
        general = general_images(recipe.active().values())
        options = recipe.train
        read = min(images, options.total_steps * options.batch_size + MOST_VALIDATED)
        cached = read * options.cache_latents + (len(general.captions) if general else 0)
        return {
            f"checkpoints ({recipe.train.keep_checkpoints} kept, one being written)": (
                self.checkpoint * kept
            ),
            "the best weights": self.best,
            "the export": self.export,
            "cache/": self.cached_image * cached,
        }


def footprint(
    recipe: Recipe, batches: Batches, world: int = 1, on_gpu: bool | None = None
) -> Footprint:
    """What a process of a sized recipe's run takes, of `world`: each batch is a step of it.

    The batches come without tensors, of the base that they get. `on_gpu`: by default where there is
    one. Raises as `load_base`, and UsageError as `Trainer`.
    """
    options = recipe.train.model_copy(update={"precision": precision_of(recipe.train)})
    recipe = recipe.model_copy(update={"train": options})
    # Beside a GPU the processor loads the weights, in fp32, and may hold the averages.
    on_gpu = machine.device().type != "cpu" if on_gpu is None else on_gpu
    with machine.without_gpu(), skeleton.without_weights():
        base = loading.load_base(recipe.base, recipe.image_size)
        takes = _measured(recipe, base, batches, world, on_gpu=on_gpu)
    if on_gpu and options.ema_on == "cpu":
        return replace(takes, memory={**takes.memory, "averages": 0})
    return takes


def _measured(
    recipe: Recipe, base: BaseModel, batches: Batches, world: int, on_gpu: bool
) -> Footprint:
    options, memory = recipe.train, TensorMemory()
    if options.compile:
        # Tensors without memory are not compiled for.
        options = options.model_copy(update={"compile": False})
        recipe = recipe.model_copy(update={"train": options})
    if options.optimizer == "adamw8bit":
        # bitsandbytes reads values, and these tensors have none: what it keeps is known.
        plain = options.model_copy(update={"optimizer": "adamw"})
        recipe = recipe.model_copy(update={"train": plain})
    memory.hold([*base.parameters(), *base.buffers()])
    with accelerator_of(options) as accelerator, memory:
        round_denoiser(base, recipe)
        if on_gpu:
            memory.restart()
        _fill_cache(recipe, base)
        trainer = trainer_of(accelerator, base, recipe)
        outside = memory.restart()
        # A scale would be read from gradients that have no values.
        trainer.precision.drop_scale()
        if on_gpu:
            trainer.precision.attention_in_fp32 = False
        steps = 0
        for batch in batches(base):
            for _ in trainer.steps(iter([filled(batch, base, recipe)])):
                steps += 1
        flops, peak = memory.flops // steps, memory.restart()
        if trainer.module.needs.latents:
            with trainer.whole_weights(averaged=False):
                _generate(base, min(len(options.preview_prompts) or PREVIEWS, MOST_AT_ONCE))
        takes = _by_part(recipe, trainer, peak, max(outside, memory.peak), flops, world)
        trained = [p for p in trainer.module.parameters() if p.requires_grad]
    if options.optimizer == trainer.options.optimizer:
        return takes
    kept = sum(state_bytes(options, parameter) for parameter in trained)
    other = takes.memory["optimiser"]
    memory_by_part = {**takes.memory, "optimiser": kept}
    return replace(takes, memory=memory_by_part, checkpoint=takes.checkpoint - other + kept)


@torch.no_grad()
def _fill_cache(recipe: Recipe, base: BaseModel) -> None:
    """What a run does before its trainer is there that takes most memory."""
    active = recipe.active().values()
    needs, cached = needs_of(active), recipe.train.cache_latents
    if needs.latents and cached:
        base.encode_latents(base.diffusion_pixels([blank()]))
    if needs.frozen_image_embeds and cached:
        base.encode_images(base.clip_pixels([blank()] * CHUNK))
    if general_images(active):
        _generate(base, recipe.generate.batch_size)


@torch.no_grad()
def _generate(base: BaseModel, count: int) -> None:
    """One step of the sampler for so many images, with guidance, and their decoding."""
    z = torch.randn(count, *base.latent_shape, device=base.device)
    t = torch.zeros(2 * count, dtype=torch.int64, device=base.device)
    with as_held(base):
        base.denoise(z.repeat(2, 1, 1, 1), t, base.encode_text(["thing"] * 2 * count))
        base.decode_latents(z)


def _by_part(
    recipe: Recipe, trainer: Trainer, peak: int, outside: int, flops: int, world: int
) -> Footprint:
    module, base = trainer.module, trainer.base
    towers = base.parameter_groups()
    trained = [p for p in module.parameters() if p.requires_grad]
    written = {name: _bytes(tensors.values()) for name, tensors in trainer.tensors().items()}
    parts = {
        "weights": _bytes([*module.parameters(), *module.buffers()]),
        "gradients": _bytes(trained),
        "optimiser": written["optimizer"],
        # Without an average of their own the weights are written as theirs.
        "averages": trainer.averaged.bytes,
    }
    parts["activations"] = peak - sum(parts.values())
    if world > 1:
        # DDP sends gradients in buckets of its own.
        parts["gradients to send"] = _bytes(trained)
    parts[OUTSIDE] = max(0, outside - sum(parts.values()))
    return Footprint(
        memory=parts,
        checkpoint=sum(written.values()),
        best=written["averaged"],
        export=base.saved_bytes,
        cached_image=_cached_image(base, recipe),
        flops=flops,
        parameters={
            tower: (
                sum(p.numel() for p in parameters),
                sum(p.numel() for p in parameters if p.requires_grad),
            )
            for tower, parameters in towers.items()
            if parameters
        },
    )


def _bytes(tensors: Iterable[Tensor]) -> int:
    """The bytes of tensors, each once."""
    once = {id(x): x for x in tensors}
    return sum(x.numel() * x.element_size() for x in once.values())


def _cached_image(base: BaseModel, recipe: Recipe) -> int:
    """Bytes of what the cache keeps of an image and a caption of it."""
    needs = needs_of(recipe.active().values())
    channels, height, width = base.latent_shape
    latents = 2 * channels * height * width * 2 if needs.latents else 0
    if recipe.train.augment.flips:
        latents *= 2
    pixels = base.clip_pixels([blank()]).numel() if needs.clip_pixels else 0
    text = bytes_of_caption(base, needs.states) if text_stays(recipe) else 0
    return latents + pixels + text + (base.dimension * 4 if needs.frozen_image_embeds else 0)
