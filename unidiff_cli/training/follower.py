"""Follows the processes of a run by its log, for the process that started them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from unidiff_cli.config.schema import Recipe
from unidiff_cli.project import run_log
from unidiff_cli.training.collapse_monitor import warn_of_collapse
from unidiff_cli.training.job import Job
from unidiff_cli.training.launch import launch
from unidiff_cli.training.worker import OnStep

logger = logging.getLogger("unidiff")


def launch_followed(
    job: Job, world: int, variables: Mapping[str, str], on_step: OnStep | None
) -> None:
    """The run in `world` processes with these variables; `on_step` gets what they log."""
    job.precomputed.write(job.folder)
    arguments = [str(job.project.root), job.name, str(world)]
    follower = LogFollower(job.folder, job.recipe, on_step)
    launch("unidiff_cli.training.worker", arguments, world, job.folder, follower, variables)


class LogFollower:
    """Passes the lines that launched processes log on to `on_step`, each once."""

    def __init__(self, run: Path, recipe: Recipe, on_step: OnStep | None) -> None:
        self.run, self.recipe, self.on_step = run, recipe, on_step
        self.position, _ = run_log.tail(run, 0)

    def __call__(self) -> None:
        self.position, lines = run_log.tail(self.run, self.position)
        for line in lines:
            warn_of_collapse(line, self.recipe)
            if "ended" in line:
                logger.info(line["ended"])
            if self.on_step and "loss" in line:
                self.on_step(line)
