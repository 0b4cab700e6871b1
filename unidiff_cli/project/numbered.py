"""Names with numbers in them, in the order of the numbers: step-999500 before step-1000000."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

# As `format` writes numbers; other digits of Unicode are letters here.
_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]+)?)")


def by_number(name: str) -> tuple[list[str | Decimal], str]:
    """A sort key for names: each number in it counts as such, at any width."""
    parts: list[str | Decimal] = list(_NUMBER.split(name))
    parts[1::2] = [Decimal(part) for part in parts[1::2]]
    return parts, name


def next_number(names: Iterable[str]) -> int:
    """One more than the largest number that stands before a name's first dash: 007-fashion."""
    firsts = (name.split("-")[0] for name in names)
    numbers = (int(first) for first in firsts if first.isascii() and first.isdecimal())
    return max(numbers, default=0) + 1
