"""One stage timed in this process, for `benchmarks.waiting`: the file's arguments say which.

    python -m benchmarks.parts.waiting PROJECT STAGE [STAGE ...]

The stages are train, generate, index and evaluate. Prints one JSON object: the seconds of each. One
that is not done after LIMIT seconds, a step for `train`, is stopped there and counts as LIMIT.
"""

import json
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from typing import Any

from benchmarks.measurement import seconds

# Seconds after which a stage is stopped.
LIMIT = 25
# Steps that are timed, after two that allocate; images; sampler steps.
STEPS, IMAGES, SAMPLER_STEPS = 4, 4, 10
BATCH = 16


class Late(Exception):
    """The time is up."""


class Done(Exception):
    """As many steps as are timed are done."""


def recipe() -> Any:
    """A small recipe on nano: a contrastive and a denoising term, and little to generate."""
    from benchmarks.parts.recipes import recipe_of

    return recipe_of(
        "joint",
        BATCH,
        f"train.steps={STEPS + 3}",
        "train.validate_every=1000",
        "train.preview_every=0",
        f"generate.steps={SAMPLER_STEPS}",
        f"evaluate.images={IMAGES}",
        "evaluate.metrics=[recall, denoise_loss, clip_score]",
    )


def stages(folder: Path) -> Mapping[str, Callable[[], float]]:
    """The work of each stage on a project; each gives the seconds that count."""
    from unidiff_cli import Project, evaluate, index, train
    from unidiff_cli.generation.generator import Generator

    project, settings = Project(folder), recipe()

    def timed_steps() -> float:
        times: list[float] = []

        def on_step(line: dict[str, Any]) -> None:
            times.append(line["seconds"])
            # What is before the first step does not count, nor what is after the last.
            signal.alarm(LIMIT)
            if len(times) == STEPS + 2:
                raise Done

        signal.alarm(0)
        with suppress(Done):
            train(project, settings, force=True, on_step=on_step)
        return sum(times[2:])

    def images() -> float:
        generator = Generator.open(project, options=settings.generate)
        sampled = generator.generate(["red dress"] * IMAGES, range(IMAGES))
        return seconds(lambda: list(sampled))[0]

    def report() -> float:
        # What the models made before would be read again.
        rmtree(project.path("cache"), ignore_errors=True)
        return seconds(lambda: evaluate(project, settings, force=True))[0]

    return {
        "train": timed_steps,
        "generate": images,
        "index": lambda: seconds(lambda: index(project, force=True))[0],
        "evaluate": report,
    }


def limited(work: Callable[[], float]) -> float:
    """The seconds of a stage, at most LIMIT."""

    def end(*_: Any) -> None:
        raise Late

    signal.signal(signal.SIGALRM, end)
    signal.alarm(LIMIT)
    try:
        return work()
    except Late:
        return LIMIT
    finally:
        signal.alarm(0)


def main() -> None:
    import torch

    work = stages(Path(sys.argv[1]))
    times = {name: limited(work[name]) for name in sys.argv[2:]}
    print(json.dumps({**times, "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main()
