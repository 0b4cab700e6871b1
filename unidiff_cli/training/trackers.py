"""Where a run's figures are logged beside log.jsonl: the trackers of accelerate, by name.

None but TensorBoard is on by default, and none but the named ones is loaded. Each reads its own
settings from the environment, such as WANDB_MODE or MLFLOW_TRACKING_URI.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from unidiff_cli.config.schema import Recipe
from unidiff_cli.config.values import Tracker
from unidiff_cli.errors import EnvironmentProblem, Stated
from unidiff_cli.system import first_line, missing_package

if TYPE_CHECKING:
    from accelerate import Accelerator
    from accelerate.tracking import GeneralTracker

    from unidiff_cli.training.job import Job

# The project, or experiment, that runs are filed under where a tracker has such.
PROJECT = "unidiff"


def require(names: Sequence[Tracker]) -> None:
    """Raises EnvironmentProblem where the package of a tracker is not installed."""
    for name in names:
        if find_spec(name) is None:
            raise missing_package(ModuleNotFoundError(name=name))


def start_trackers(accelerator: Accelerator, job: Job) -> None:
    """Starts the trackers of a run, on the main process. Raises EnvironmentProblem.

    All but TensorBoard get the recipe, a value a key.
    """
    if not accelerator.is_main_process:
        return
    values = dict(_flat(_plain(job.recipe)))
    for name in dict.fromkeys(job.recipe.train.trackers):
        try:
            tracker = _tracker(name, job)
            tracker.start()
            if name != "tensorboard":
                tracker.store_init_configuration(values)
        except (Stated, ImportError, OSError):
            raise
        except Exception as problem:
            raise EnvironmentProblem(
                f"The tracker {name} does not start: {first_line(problem)}",
                "Look at its settings, work offline (WANDB_MODE=offline), or leave it out of "
                "train.trackers.",
            ) from problem
        accelerator.trackers.append(tracker)


def _tracker(name: Tracker, job: Job) -> GeneralTracker:
    from accelerate import tracking

    folder = str(job.folder)
    if name == "tensorboard":
        return tracking.TensorBoardTracker("tensorboard", folder)
    if name == "wandb":
        return tracking.WandBTracker(PROJECT, name=job.name, dir=folder)
    if name == "mlflow":
        return tracking.MLflowTracker(PROJECT, run_name=job.name)
    return tracking.TrackioTracker(PROJECT, name=job.name)


def _plain(recipe: Recipe) -> dict[str, Any]:
    return recipe.section("base", "image_size", "objectives", "train")


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key with its value, as train.lr.text."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, int | float) else str(value)
