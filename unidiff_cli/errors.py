"""Every error unidiff raises on purpose, as one tree.

    Stated                        a fact (what, where) and an action (what to do)
    ├── UnidiffError              an Exception
    │   ├── UsageError            2    the command or the recipe is wrong
    │   │   └── Problems               several at once
    │   │       └── RecipeError        every problem of a recipe
    │   ├── WorkError             1    the work failed, or its input is not there
    │   │   ├── NotReady               a folder this stage reads is missing, unfinished or stale
    │   │   └── Damaged                a file of unidiff does not hold what its receipt says
    │   └── EnvironmentProblem    3    the machine lacks something: disk, package, weights, device
    └── Interrupted               128 + the signal's number; what was done is saved

Only `cli` prints them and turns them into exit codes.
"""

from __future__ import annotations

import difflib
import signal
from collections.abc import Iterable
from typing import Any


class Stated(BaseException):
    """A sentence of fact (what is wrong, and where) and a sentence of action (what to do)."""

    exit_code = 1

    def __init__(self, fact: str, action: str = "") -> None:
        self.fact = fact
        self.action = action
        super().__init__(f"{fact} {action}".strip())

    def __reduce__(self) -> tuple[Any, ...]:
        # By default Python would call a subclass with the one text, in another process.
        return _unfilled, (type(self), self.args), vars(self)


def _unfilled(kind: type[Stated], texts: tuple[str, ...]) -> Stated:
    """An error before it has the attributes that it had in the process that raised it."""
    return kind.__new__(kind, *texts)


class UnidiffError(Stated, Exception):
    """What is wrong, for callers to catch."""


class UsageError(UnidiffError):
    """The command or the recipe is wrong."""

    exit_code = 2


class TooLarge(UsageError):
    """A limit of the recipe is passed: nobody looked at what lies beyond."""


class Problems(UsageError):
    """Several problems at once, each a sentence or two."""

    def __init__(self, problems: list[str], action: str = "") -> None:
        self.problems = problems
        super().__init__("\n".join(problems), action)


class RecipeError(Problems):
    """All problems of a recipe, each `file:line: sentence`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(problems, "See the keys with: unidiff recipes schema")


class WorkError(UnidiffError):
    """The work failed, or its input is not there."""

    exit_code = 1


class NotReady(WorkError):
    """A folder this stage reads is missing, unfinished or stale."""


class Damaged(WorkError):
    """A file of unidiff does not hold what was written."""


class EnvironmentProblem(UnidiffError):
    """The machine lacks something: disk, package, weights, device."""

    exit_code = 3


class Interrupted(Stated):
    """A signal ended the work after it was saved.

    No Exception, so that no decoder, reader or cache takes it for damage of what it reads.
    """

    def __init__(self, signum: int, fact: str, action: str = "") -> None:
        self.exit_code = 128 + int(signal.Signals(signum))
        super().__init__(fact, action)


def nearest(word: str, known: Iterable[str]) -> str:
    """ " Did you mean 'x'?" for a misspelt word, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""
