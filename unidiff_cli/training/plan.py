"""TODO docstring."""

from __future__ import annotations

from unidiff_cli.config.schema import Recipe
from unidiff_cli.project.project import Project


def train_plan(project: Project, recipe: Recipe) -> str:
    """What `train` would do, in a few lines. Raises NotReady without shards."""
    shards = project.receipt("shards")
    train, options = int(shards.counts["train"]), recipe.train
    epochs = options.steps * options.batch_size / max(train, 1)
    rates = {tower: getattr(options.lr, tower) for tower in options.trains}
    return "\n".join([
        f"plan: run {project.next_run(recipe.name)} in {project.root}",
        f"  {options.steps} steps of {options.batch_size} over {train:,} training images ({epochs:.1f} epochs)",
        f"  trains {', '.join(f'{k} at {v:g}' for k, v in rates.items() if v)}",
        f"  checkpoints every {options.checkpoint_every} steps, validation every {options.validate_every}",
        "  then export and index",
    ])  # fmt: skip
