"""GradCache: a tower runs over a whole batch in the memory that a chunk of it takes.

The tower runs so many rows at a time and keeps nothing but its outputs; backward runs it again, a
chunk at a time, when it reaches them. Source: GradCache, arXiv 2101.06983. Dropout, were there any,
is replayed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from unidiff_cli.models.base import TextFeatures


def in_chunks(tower: Callable[[int, int], Any], rows: int, chunk: int) -> list[Any]:
    """tower(first, last) of all rows at once, or of `chunk` rows at a time; 0: all."""
    if not 0 < chunk < rows:
        return [tower(0, rows)]
    ends = ((first, min(first + chunk, rows)) for first in range(0, rows, chunk))
    return [checkpoint(tower, *each, use_reentrant=False) for each in ends]


def denoise_in_chunks(
    denoise: Callable[..., Any], z_t: Tensor, t: Tensor, text: TextFeatures, chunk: int
) -> list[Any]:
    """What a denoiser makes of b rows, in the parts of `in_chunks`."""

    def tower(first: int, last: int) -> Any:
        return denoise(z_t[first:last], t[first:last], text.rows(slice(first, last)))

    return in_chunks(tower, len(z_t), chunk)


def joined(parts: list[Tensor]) -> Tensor:
    """The parts' rows after one another; a part that is alone as it is, not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(parts)
