"""What is typed, before it is parsed: no argument is empty, and all of them are text."""

from __future__ import annotations

import os
from collections.abc import Sequence

from unidiff_cli.data.locations import shown
from unidiff_cli.errors import UsageError

# Options of which nothing is a value too.
MAY_BE_EMPTY = ("--negative",)


def refuse(arguments: Sequence[str]) -> None:
    """Raises UsageError for an argument that is empty, or holds bytes that are no text."""
    for before, argument in zip(("unidiff", *arguments), arguments, strict=False):
        _refuse_empty(before, argument)
        _refuse_bytes(argument)


def _refuse_empty(before: str, argument: str) -> None:
    """An empty argument is a variable that is not set; it would mean the current folder."""
    option, is_assigned, value = argument.partition("=")
    if is_assigned and option.startswith("--"):
        before, argument = option, value
    if not argument.strip() and before not in MAY_BE_EMPTY:
        raise UsageError(
            f"The argument after '{before[:40]}' is empty.",
            "Give it a value, or leave it out. A variable of the shell that is not set is empty.",
        )


def _refuse_bytes(argument: str) -> None:
    """The name of a file that is there may hold any bytes."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        if not os.path.exists(argument):
            raise UsageError(
                f"The argument {shown(argument)} holds bytes that are no UTF-8.",
                "Write it in UTF-8; a file may be renamed.",
            ) from None
