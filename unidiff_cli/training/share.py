"""The share of a piece of work that one of several processes does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """The share of process `rank` of `world`."""

    rank: int = 0
    world: int = 1

    def has(self, number: int) -> bool:
        """Whether the piece of this number is among it."""
        return number % self.world == self.rank


# All of it.
WHOLE = Share()
