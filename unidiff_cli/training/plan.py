"""What a training run would do and take: `train --dry-run` and `train --probe`."""

from __future__ import annotations

import time

import torch

from unidiff_cli import machine
from unidiff_cli.config.schema import Recipe
from unidiff_cli.config.train import Train
from unidiff_cli.objectives import general_images
from unidiff_cli.project.project import Project
from unidiff_cli.training.disk_watch import gb
from unidiff_cli.training.footprint import Footprint
from unidiff_cli.training.probe import Probe

# Seconds of products of matrices by which the machine's speed is measured.
MEASURED = 0.5
# What takes less memory, in the order of what it costs.
SMALLER = (
    "a recipe for a card (unidiff recipes list), train.gradient_checkpointing=true, a smaller "
    "train.chunk and train.denoise_batch, train.ema_on=cpu or train.ema=0, "
    "train.optimizer=adamw8bit or adafactor, or fewer towers in train.trains"
)


def train_plan(project: Project, recipe: Recipe) -> list[str]:
    """The steps of a sized recipe, what trains at which rate, and what follows.

    Raises NotReady without shards.
    """
    images, options = int(project.receipt("shards").counts["train"]), recipe.train
    epochs = options.total_steps * options.batch_size / max(images, 1)
    rates = {tower: options.rate_of(tower) for tower in options.trains}
    trained = ", ".join(
        f"{tower} at {rate:g}{_adapter(options, tower)}" for tower, rate in rates.items() if rate
    )
    general = general_images(recipe.active().values())
    first = general and (
        f"  the base generates {len(general.captions):,} general images before, those that cache/ "
        f"lacks: {recipe.generate.steps} steps each, {recipe.image_size} px"
    )
    return [
        f"plan: run {project.next_run(recipe.name)} in {project.root}",
        f"  {options.steps} steps of {options.batch_size} over {images:,} training images "
        f"({epochs:.1f} epochs)",
        f"  trains {trained}",
        *([first] if first else []),
        f"  checkpoints every {options.checkpoint_every} steps, validation every "
        f"{options.validate_every}",
        "  then export and index",
    ]


def _adapter(options: Train, tower: str) -> str:
    """How a tower trains, where it is not by its weights."""
    if not options.by_adapters(tower):
        return ""
    assert options.lora is not None
    return f" ({options.lora.kind} of rank {options.lora.rank_of(tower)})"


def cost_plan(project: Project, recipe: Recipe, takes: Footprint) -> list[str]:
    """Memory, disk and time that a sized recipe's run takes by estimate, by part."""
    images = sum(int(project.receipt("shards").counts[split]) for split in ("train", "val"))
    memory, disk = dict(takes.memory), takes.disk(recipe, images)
    where = machine.device().type
    if where == "cpu":
        memory["Python and its libraries"] = machine.memory_now()
    needed, room = sum(memory.values()), machine.free_memory()
    if where == "cpu":
        room += machine.memory_now()
    free = machine.free_bytes(project.root)
    lines = [
        f"estimate: {gb(needed)} of memory on the {where}, of {gb(room)} that are free",
        *_parts(memory),
        f"estimate: {gb(sum(disk.values()))} of disk at most, of {gb(free)} that are free",
        *_parts(disk),
        _least_time(recipe, takes),
    ]
    if needed > room:
        lines.append(f"  it does not fit into memory. Less takes: {SMALLER}")
    if sum(disk.values()) > free:
        lines.append("  it does not fit on the disk. Less takes: train.keep_checkpoints=1")
    return lines


def _parts(parts: dict[str, int]) -> list[str]:
    return [f"  {gb(size):>9}  {name}" for name, size in parts.items() if size]


def _least_time(recipe: Recipe, takes: Footprint) -> str:
    """The time that a run takes at least: its products, at the rate of large ones alone."""
    operations, rate = takes.flops * recipe.train.total_steps, multiplication_rate()
    return (
        f"estimate: {duration(operations / rate)} at least, for {operations / 1e12:,.1f} TFLOP at "
        f"the {rate / 1e9:,.0f} GFLOP/s of large products here; a step is slower: --probe"
    )


def duration(seconds: float) -> str:
    """Seconds in words."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def multiplication_rate() -> float:
    """Operations a second of large products in fp32 on the device."""
    side, done, started = 1024, 0, time.monotonic()
    x = torch.ones(side, side, device=machine.device())
    while time.monotonic() - started < MEASURED:
        # Waits for the device.
        float((x @ x)[0, 0])
        done += 2 * side**3
    return done / (time.monotonic() - started)


def probe_report(recipe: Recipe, takes: Footprint, probed: Probe) -> list[str]:
    """The measured peak of two steps beside the estimate, and the time of a run by it."""
    estimate = probed.before + takes.step
    per_step, steps = probed.seconds[-1], recipe.train.total_steps
    return [
        f"measured: {gb(probed.peak)} of memory at the peak of two steps, "
        f"{gb(probed.before)} of it before the base was loaded",
        f"  the estimate was {gb(estimate)}, {(estimate / probed.peak - 1) * 100:+.0f} %",
        f"measured: {per_step:.2f} s a step, so {duration(per_step * steps)} for {steps:,} steps, "
        "without validation, checkpoints and what is cached first",
    ]
