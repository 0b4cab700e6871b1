"""What a run reads of a split that it does not read whole."""

import numpy as np
import pytest

from unidiff_cli.data.dataset import BatchPlan, Samples
from unidiff_cli.data.reads import Reads, reads_of
from unidiff_cli.data.shards import Shards
from unidiff_cli.data.streaming import StreamedSamples


@pytest.fixture(scope="module")
def shards(prepared):
    return Shards.open(prepared.path("shards"))


@pytest.mark.parametrize("order", ["shuffled", "distinct", "views"])
@pytest.mark.parametrize("part", [0, 3])
@pytest.mark.parametrize("steps", [1, 3, 50])
@pytest.mark.parametrize("kind", [Samples, StreamedSamples])
def test_what_batches_hold_is_what_is_read(shards, order, part, steps, kind):
    rows = shards.rows("train")
    plan = BatchPlan(8, 0, order, part)
    samples = kind(shards, rows, plan)
    reads, number = reads_of(samples, steps), {row.key: n for n, row in enumerate(rows)}
    seen, denoised = set(), set()
    for step in range(steps):
        batch = samples.batch(step, {})
        seen |= {number[row.key] for row in batch.rows}
        chosen = (
            batch.rows
            if batch.denoise_rows is None
            else [batch.rows[i] for i in batch.denoise_rows]
        )
        denoised |= {number[row.key] for row in chosen}
    exact = steps * 8 < len(rows)
    assert exact == (steps < 5), len(rows)
    if exact:
        assert set(np.flatnonzero(reads.seen)) == seen
        assert set(np.flatnonzero(reads.denoised)) == denoised
    # Never less than that.
    assert seen <= set(np.flatnonzero(reads.seen))
    assert denoised <= set(np.flatnonzero(reads.denoised)) and reads.seen.any()


def test_each_tensor_has_the_mask_of_who_reads_it():
    reads = Reads(np.array([True, True, False]), np.array([True, False, False]))
    for name in ("latents", "mirrored_latents", "diffusion_pixels"):
        assert reads.of_tensor(name).tolist() == [True, False, False]
    for name in ("clip_pixels", "frozen_image_embeds"):
        assert reads.of_tensor(name).tolist() == [True, True, False]
    both = reads.joined(Reads.all_of(1))
    assert both.denoised.tolist() == [True, False, False, True]
