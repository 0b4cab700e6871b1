"""Which samples of a split a run reads: in a large catalogue a short run reads few of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unidiff_cli.data.dataset import DENOISED, MIRRORED, Samples
from unidiff_cli.data.order import subsample


@dataclass(frozen=True)
class Reads:
    """Masks (n,) over samples: those that are read, and those of them that the denoiser sees."""

    seen: np.ndarray
    denoised: np.ndarray

    @classmethod
    def all_of(cls, count: int) -> Reads:
        """Every one of so many samples."""
        return cls(np.ones(count, bool), np.ones(count, bool))

    def joined(self, other: Reads) -> Reads:
        """Those of these samples and of others behind them."""
        seen = np.concatenate([self.seen, other.seen])
        return Reads(seen, np.concatenate([self.denoised, other.denoised]))

    def of_tensor(self, name: str) -> np.ndarray:
        """The mask of the samples whose tensor of this name is read."""
        return self.denoised if name in (*DENOISED, MIRRORED) else self.seen


def reads_of(samples: Samples, steps: int) -> Reads:
    """What the steps before a number read. All, where they have as many places as samples."""
    plan, count = samples.plan, len(samples.rows)
    whole = Reads.all_of(count)
    # Orders of blocks choose by what samples are like.
    if plan.alike or plan.order == "listed":
        return whole
    part = plan.denoise_batch
    places = range(plan.batch_size)
    some = subsample(places, part, plan.batch_size) if 0 < part < plan.batch_size else places
    return Reads(
        _read(samples, steps, list(places)) if steps * len(places) < count else whole.seen,
        _read(samples, steps, list(some)) if steps * len(some) < count else whole.denoised,
    )


def _read(samples: Samples, steps: int, places: list[int]) -> np.ndarray:
    """The mask of the samples at these places of each step."""
    mask, size = np.zeros(len(samples.rows), bool), samples.plan.batch_size
    for step in range(steps):
        mask[[samples.order(step * size + place) for place in places]] = True
    return mask
