"""A part of a stage's work, for jobs of an array that share a project on a network file system."""

from __future__ import annotations

from typing import NamedTuple

from unidiff_cli.errors import UsageError


class Part(NamedTuple):
    """The `number`-th of `of` parts, from 1 on: every `of`-th unit of the work."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Part:
        """The part that `3/16` names. Raises UsageError."""
        number, slash, of = text.partition("/")
        if slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of):
            return cls(int(number), int(of))
        raise UsageError(f"--part {text!r} is no part.", "Write 3/16 for the third of sixteen.")

    def holds(self, unit: int) -> bool:
        """Whether a unit is in it, by its number from 0 on."""
        return unit % self.of == self.number - 1
