"""Random numbers keyed by sample: the same on a resume, a second forward and any process."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def keyed_random(
    seed: int,
    step: int,
    positions: Sequence[int],
    name: str,
    shape: tuple[int, ...],
    uniform: bool = False,
) -> Tensor:
    """Random numbers (B, *shape), each row depending on (seed, step, position, name) only.

    Normal, or uniform in [0, 1).
    """
    rows = []
    for position in positions:
        key = hashlib.blake2b(f"{seed}/{step}/{position}/{name}".encode(), digest_size=8).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(key, "little") >> 1)
        rows.append((torch.rand if uniform else torch.randn)(shape, generator=generator))
    return torch.stack(rows)
