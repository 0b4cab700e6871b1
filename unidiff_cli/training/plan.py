"""What a training run would do, in a few lines: `train --dry-run`."""

from __future__ import annotations

from unidiff_cli.config.schema import Recipe, Train
from unidiff_cli.objectives import general_images
from unidiff_cli.project.project import Project


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
