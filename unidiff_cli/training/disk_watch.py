"""The disk under a run: a small one is refused before the first step, and watched at each."""

from __future__ import annotations

import logging
from pathlib import Path

from unidiff_cli import machine
from unidiff_cli.errors import EnvironmentProblem
from unidiff_cli.project import checkpoints
from unidiff_cli.training.trainer import Trainer

logger = logging.getLogger("unidiff")


class DiskWatch:
    """Whether what a run still writes fits on the disk of its folder."""

    def __init__(self, run: Path, trainer: Trainer) -> None:
        self.run, self.trainer, self.warned = run, trainer, False

    def refuse(self) -> None:
        """Raises EnvironmentProblem where the checkpoints of a run do not fit, with its export."""
        folder, options = self.run / "checkpoints", self.trainer.options
        there = len(checkpoints.committed(folder))
        # One is written before the oldest is deleted.
        count = max(1, min(options.keep_checkpoints, self._still_to_save() + there) + 1 - there)
        one, best = self.trainer.checkpoint_bytes, self.trainer.weights_bytes
        needed = count * one + best + self.trainer.base.saved_bytes
        if needed > (free := machine.free_bytes(self.run)):
            raise EnvironmentProblem(
                f"Run {self.run.name} writes {gb(needed)} (checkpoints of {gb(one)}, the best "
                f"weights, the export), and {gb(free)} are free for {self.run}.",
                "Free some space, or keep fewer: --set train.keep_checkpoints=1",
            )

    def _still_to_save(self) -> int:
        """How many checkpoints the rest of the run writes."""
        options, done = self.trainer.options, self.trainer.done
        every = options.checkpoint_every
        return -(-options.total_steps // every) - done // every

    def watch(self) -> None:
        """Warns, once each time, where the next checkpoint would not fit."""
        one, free = self.trainer.checkpoint_bytes, machine.free_bytes(self.run)
        if free >= one:
            self.warned = False
        elif not self.warned:
            self.warned = True
            logger.warning(
                "%s are free for %s, and the next checkpoint takes %s. Free some space, or "
                "training stops there.",
                gb(free),
                self.run,
                gb(one),
            )


def gb(size: float) -> str:
    """Bytes in words."""
    return f"{size / 1e9:,.2f} GB" if size >= 1e8 else f"{size / 1e6:,.1f} MB"
