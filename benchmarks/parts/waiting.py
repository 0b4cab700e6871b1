"""A process of `benchmarks.waiting`: it does a little of a stage each time it is asked to.

    python -m benchmarks.parts.waiting PROJECT

It reads the name of a stage a line (train, generate, index, evaluate) and prints the seconds that
a small piece of it took. Its models are loaded before the first line.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from shutil import rmtree
from typing import Any

from benchmarks.measurement import seconds

# Samples a step, generated images, and sampler steps of each.
BATCH, IMAGES, SAMPLER_STEPS = 16, 4, 5


def recipe() -> Any:
    """A small recipe on nano: a contrastive and a denoising term, and little to generate."""
    from benchmarks.parts.recipes import recipe_of

    return recipe_of(
        "joint",
        BATCH,
        "train.steps=3",
        "train.validate_every=1000",
        "train.preview_every=0",
        f"generate.steps={SAMPLER_STEPS}",
        f"evaluate.images={IMAGES}",
        "evaluate.metrics=[recall, denoise_loss, clip_score]",
    )


def _steps(project: Any, settings: Any) -> Iterator[None]:
    """Steps of training on ready batches, as the trainer makes them."""
    from accelerate import Accelerator

    from unidiff_cli.data.dataset import BatchPlan, Samples, loader
    from unidiff_cli.data.shards import Shards
    from unidiff_cli.models import loading
    from unidiff_cli.training.module import TrainingModule
    from unidiff_cli.training.trainer import Trainer

    base = loading.load_base("nano", settings.image_size)
    module = TrainingModule(base, settings.active(), 0)
    trainer = Trainer(Accelerator(cpu=True), module, settings.train)
    shards = Shards.open(project.path("shards"))
    plan = BatchPlan(BATCH, 0, "shuffled")
    samples = Samples(shards, shards.rows("train"), plan, transforms=base.transforms())
    [batch] = loader(samples, range(1))
    for _ in trainer.steps(batch for _ in iter(int, 1)):
        yield


def stages(folder: Path) -> Mapping[str, Callable[[], Any]]:
    """A small piece of each stage on a project."""
    from unidiff_cli import Project, evaluate, index
    from unidiff_cli.generation.generator import Generator

    project, settings = Project(folder), recipe()
    steps = _steps(project, settings)
    generator = Generator.open(project, options=settings.generate)

    def report() -> None:
        # What the models made before would be read again.
        rmtree(project.path("cache"), ignore_errors=True)
        evaluate(project, settings, force=True)

    return {
        "train": lambda: next(steps),
        "generate": lambda: list(generator.generate(["red dress"] * IMAGES, range(IMAGES))),
        "index": lambda: index(project, force=True),
        "evaluate": report,
    }


def main() -> None:
    work = stages(Path(sys.argv[1]))
    for piece in work.values():
        # The first of each allocates.
        piece()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        print(json.dumps(seconds(work[line.strip()])[0]), flush=True)


if __name__ == "__main__":
    main()
