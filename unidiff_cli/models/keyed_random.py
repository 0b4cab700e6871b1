"""TODO docstring."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    pass


def keyed_random(
    seed: int,
    step: int,
    positions: list[int],
    name: str,
    shape: tuple[int, ...],
    uniform: bool = False,
) -> Tensor:
    """Random numbers (B, *shape), each row depending on (seed, step, position, name) only."""
    rows = []
    for position in positions:
        key = hashlib.blake2b(f"{seed}/{step}/{position}/{name}".encode(), digest_size=8).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(key, "little") >> 1)
        rows.append((torch.rand if uniform else torch.randn)(shape, generator=generator))
    return torch.stack(rows)
