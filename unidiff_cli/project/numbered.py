"""Names with numbers in them, in the order of the numbers: step-999500 before step-1000000."""

from __future__ import annotations

import re
from collections.abc import Iterable

# As `format` writes numbers; other digits of Unicode are letters here.
_DIGITS = re.compile("([0-9]+)")


def by_number(name: str) -> tuple[list[str | int], str]:
    """A sort key for names: each run of digits counts as its number, at any width."""
    parts: list[str | int] = list(_DIGITS.split(name))
    parts[1::2] = [int(part) for part in parts[1::2]]
    return parts, name


def next_number(names: Iterable[str]) -> int:
    """One more than the largest number that stands before a name's first dash: 007-fashion."""
    firsts = (name.split("-")[0] for name in names)
    return max((int(first) for first in firsts if _DIGITS.fullmatch(first)), default=0) + 1
