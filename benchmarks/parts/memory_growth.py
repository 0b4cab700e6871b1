"""Whether the memory of a long run grows with its steps."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.measurement import in_fresh_process, resident
from benchmarks.parts.steps import Bench


@dataclass(frozen=True)
class MemoryGrowth:
    """So many steps of `joint` on nano, with their log, after as many as settle the allocator."""

    batch: int = 4
    settling: int = 500
    steps: int = 3_000

    def measure(self) -> dict[str, float]:
        """Resident MiB at both ends, and what a thousand steps add, by a line through all."""
        return in_fresh_process(_measure, self)


def _measure(sizes: MemoryGrowth) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        step = Bench(sizes, Path(folder)).our_step("joint").step
        for _ in range(sizes.settling):
            step()
        held = []
        for _ in range(sizes.steps):
            step()
            held.append(resident())
    slope = np.polyfit(np.arange(len(held)), held, 1)[0]
    return {"first_mib": held[0], "last_mib": held[-1], "mib_a_thousand_steps": 1000 * slope}
