"""The place of this process among those that a launcher started, and their first words.

A launcher is torchrun, `accelerate launch` or a cluster's own. It starts the same command several
times, on one machine or on several, with the variables of torch.distributed in the environment.
The first process opens the run; the others learn its name and take part.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from unidiff_cli import machine
from unidiff_cli.errors import UsageError

# How long processes wait for each other: one validates, or the first fills the cache.
WAIT = timedelta(hours=2)
# Bytes of a run's name, at most.
LONGEST = 512


@dataclass(frozen=True)
class Place:
    """The place of this process among those that a launcher started; alone by default."""

    rank: int = 0
    world: int = 1
    started: bool = False

    @classmethod
    def here(cls) -> Place:
        """By the variables that torchrun and accelerate launch set. Raises UsageError."""
        names = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
        if not all(os.environ.get(name) for name in names):
            return cls()
        try:
            rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        except ValueError:
            raise UsageError(
                f"RANK is '{os.environ['RANK']}' and WORLD_SIZE '{os.environ['WORLD_SIZE']}'; "
                "they are numbers.",
                "A launcher sets them; without one, unset both.",
            ) from None
        # One process that a launcher started is as good as one that nobody did.
        return cls(rank, world, world > 1)


def join() -> None:
    """Meets the other processes that a launcher started."""
    from accelerate import PartialState

    PartialState(cpu=machine.device().type == "cpu", timeout=WAIT)


def told_run() -> str:
    """The name of the run that the first process opened; empty where there is nothing to do."""
    return _broadcast("")


def _broadcast(text: str) -> str:
    """The text that the first process gives, on every process; no pickle of anybody is opened."""
    import torch
    from accelerate import PartialState

    room = torch.zeros(LONGEST, dtype=torch.uint8)
    encoded = torch.tensor(list(text.encode()), dtype=torch.uint8)
    room[: len(encoded)] = encoded
    room = room.to(PartialState().device)
    torch.distributed.broadcast(room, src=0)
    return bytes(room.cpu().tolist()).rstrip(b"\0").decode()


class Others:
    """The other processes that a launcher started, as the first process sees them."""

    def __init__(self, there: bool) -> None:
        self.there = there

    def tell(self, run: str) -> None:
        """Gives them the name of the run, once; without one they end."""
        if self.there:
            self.there = False
            _broadcast(run)


@contextmanager
def others(there: bool) -> Iterator[Others]:
    """The other processes; they end where they were told nothing. After an error their launcher
    ends them."""
    if there:
        join()
    waiting = Others(there)
    yield waiting
    waiting.tell("")
