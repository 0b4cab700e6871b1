"""Fits a run to its catalogue: `train.steps: auto` as a number, and batches that it can fill.

`train` does it before a run begins, so the run's own recipe holds the numbers, and a run that
resumes keeps them. Loads no torch.
"""

from __future__ import annotations

from math import ceil, sqrt
from typing import Any

from unidiff_cli import machine
from unidiff_cli.config.schema import Recipe
from unidiff_cli.config.train import Train
from unidiff_cli.errors import WorkError
from unidiff_cli.objectives import needs_of

# The images that `train.pace.passes` counts for; over more there are fewer passes.
REFERENCE = 1000
# With `steps: auto` at least so many validations, checkpoints and previews a run, and at most this
# part of it to warm up.
VALIDATIONS, CHECKPOINTS, PREVIEWS, WARMUP = 6, 3, 2, 10


def sized(recipe: Recipe, images: int) -> tuple[Recipe, list[str]]:
    """The recipe with the numbers of a run over so many training images, and why: a sentence each.

    Numbers that fit stay as they are, so a recipe that was sized stays as it is. Raises WorkError
    for fewer than two images.
    """
    if images < 2:
        raise WorkError(
            f"The training split holds {images} images.", "Add images, or change prepare.splits."
        )
    needs, notes = needs_of(recipe.active().values()), list[str]()
    compares = needs.clip_pixels or needs.text_embeds
    options = _with_batch(recipe.train, compares, images, notes)
    if options.steps == "auto":
        options = _with_steps(options, needs.latents, images, notes)
    return recipe.model_copy(update={"train": options}), notes


def _with_batch(options: Train, compares: bool, images: int, notes: list[str]) -> Train:
    """A batch of no more samples than there are images, where its samples are compared."""
    batch, seen = options.batch_size, min(options.denoise_batch, options.batch_size)
    if not compares and seen:
        # Nothing reads the others.
        batch, seen = seen, 0
    elif compares and batch > images:
        world = options.processes or max(1, machine.gpu_count())
        batch = max(images // world, 1) * world
        notes.append(
            f"batch_size {batch}: the training split has {images:,} images, fewer than a batch of "
            f"{options.batch_size}."
        )
        seen = min(seen, batch)
    return options.model_copy(update={"batch_size": batch, "denoise_batch": seen})


def _with_steps(options: Train, denoises: bool, images: int, notes: list[str]) -> Train:
    """`steps` as a number: passes over the images that fall as 1/√images, within bounds.

    Of a step those samples count that the slowest learner sees: the denoiser, where it runs.
    """
    pace = options.pace
    seen = (denoises and options.denoise_batch) or options.batch_size
    passes = pace.passes * sqrt(REFERENCE / images)
    steps = min(max(round(passes * images / seen), pace.least), pace.most)
    by = " that the denoiser sees" if seen < options.batch_size else ""
    notes.append(
        f"steps {steps}: {steps * seen / images:.1f} passes over {images:,} training images, "
        f"{seen} a step{by} (train.pace: {pace.passes:g} passes over {REFERENCE:,} images, fewer "
        f"over more; {pace.least} to {pace.most:,} steps)."
    )
    return options.model_copy(update={"steps": steps, **_intervals(options, steps)})


def _intervals(options: Train, steps: int) -> dict[str, Any]:
    """What a recipe says for a long run, shortened to a run of so many steps."""
    return {
        "warmup": min(options.warmup, steps // WARMUP),
        "validate_every": min(options.validate_every, ceil(steps / VALIDATIONS)),
        "checkpoint_every": min(options.checkpoint_every, ceil(steps / CHECKPOINTS)),
        # 0: never.
        "preview_every": min(options.preview_every, ceil(steps / PREVIEWS)),
    }
