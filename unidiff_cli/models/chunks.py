"""GradCache: a tower runs over a whole batch in the memory that a chunk of it takes.

The tower runs so many rows at a time and keeps nothing but its outputs; backward runs it again, a
chunk at a time, when it reaches them. Source: GradCache, arXiv 2101.06983. Dropout, were there any,
is replayed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils.checkpoint import checkpoint


def in_chunks(tower: Callable[[int, int], Any], rows: int, chunk: int) -> list[Any]:
    """tower(first, last) of all rows at once, or of `chunk` rows at a time; 0: all."""
    if not 0 < chunk < rows:
        return [tower(0, rows)]
    ends = ((first, min(first + chunk, rows)) for first in range(0, rows, chunk))
    return [checkpoint(tower, *each, use_reentrant=False) for each in ends]
