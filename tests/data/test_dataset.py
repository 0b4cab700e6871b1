"""Samples as batches: shares of processes, cached tensors and reading ahead."""

import ctypes
import resource
from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from tests.support.batches import mean_colours
from unidiff_cli.data.dataset import BatchPlan, Samples, loader, read_ahead
from unidiff_cli.data.shards import Shards
from unidiff_cli.data.stored_rows import StoredRows
from unidiff_cli.project.row_store import keys_of, write_pack

TRANSFORMS = {"clip_pixels": mean_colours, "diffusion_pixels": mean_colours}


@pytest.fixture(scope="module")
def shards(prepared):
    return Shards.open(prepared.path("shards"))


@pytest.fixture(scope="module")
def training_rows(shards):
    return shards.rows("train")


@pytest.mark.parametrize("world", [1, 2, 4])
def test_processes_share_a_batch_in_order(shards, training_rows, world):
    shares = [
        Samples(shards, training_rows, BatchPlan(8, 0, rank=r, world=world)) for r in range(world)
    ]
    whole = Samples(shards, training_rows, BatchPlan(8, 0))
    assert [row.id for share in shares for row in share[5].rows] == [r.id for r in whole[5].rows]


def test_validation_reads_every_row_once_in_order(shards, training_rows):
    samples = Samples(shards, training_rows, BatchPlan(7, 0, "listed"))
    batches = loader(samples, range(len(samples)))
    assert [row.id for batch in batches for row in batch.rows] == [r.id for r in training_rows]


@pytest.mark.slow
def test_loader_processes_give_the_same_batches(shards, training_rows):
    samples = Samples(shards, training_rows, BatchPlan(4, 3), transforms=TRANSFORMS)
    alone, ahead = (list(loader(samples, range(2, 5), workers)) for workers in (0, 2))
    assert [b.captions for b in alone] == [b.captions for b in ahead]
    for a, b in zip(alone, ahead, strict=True):
        assert torch.equal(a.clip_pixels, b.clip_pixels)


def test_equal_captions_share_an_id_whatever_their_case(shards, training_rows):
    batch = Samples(shards, training_rows, BatchPlan(48, 0))[0]
    uses = Counter(batch.caption_ids.tolist())
    assert len(uses) == len(set(batch.captions)) and max(uses.values()) == 2
    assert len(set(batch.group_ids.tolist())) == len({row.group for row in batch.rows})


def test_only_the_rows_of_the_denoiser_have_its_tensors(shards, training_rows):
    plan = BatchPlan(8, 0, denoise_batch=2)
    batch = Samples(shards, training_rows, plan, transforms=TRANSFORMS)[3]
    whole = Samples(shards, training_rows, BatchPlan(8, 0), transforms=TRANSFORMS)[3]
    assert batch.denoise_rows == [3, 7] and batch.denoise_positions == [6, 7]
    assert torch.equal(batch.diffusion_pixels, whole.diffusion_pixels[[3, 7]])
    assert torch.equal(batch.clip_pixels, whole.clip_pixels)


def test_a_recipe_turns_distinct_batches_on_and_processes_share_them(shards, training_rows):
    whole = Samples(shards, training_rows, BatchPlan(8, 0, "distinct"))
    shares = [
        Samples(shards, training_rows, BatchPlan(8, 0, "distinct", rank=r, world=2))
        for r in range(2)
    ]
    for step in range(10):
        together = [row for share in shares for row in share[step].rows]
        assert together == whole[step].rows and len({row.group for row in together}) == 8


def test_cached_tensors_are_taken_by_row(shards, training_rows, tmp_path):
    """As the precomputed ones of a run: one row a sample, for the rows that need them."""
    numbers = np.arange(len(training_rows))
    keys = [f"{number:064x}" for number in numbers]
    write_pack(tmp_path, keys_of(keys), numbers)
    cached = dict.fromkeys(("clip_pixels", "latents"), StoredRows.of(tmp_path, keys))
    batch = Samples(shards, training_rows, BatchPlan(8, 0, denoise_batch=2), cached=cached)[3]
    places = [training_rows.index(row) for row in batch.rows]
    assert batch.clip_pixels.tolist() == places
    assert batch.latents.tolist() == [places[i] for i in batch.denoise_rows]


class PagesMapped(Dataset[int]):
    """Item → the pages that the system mapped while 64 MiB were filled and freed again."""

    def __getitem__(self, item: int) -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        blocks = [b"x" * 8 * 1024**2 for _ in range(8)]
        del blocks
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="glibc's allocator")
def test_a_loader_process_keeps_the_memory_of_its_batches():
    first, *rest = read_ahead(PagesMapped(), range(4), workers=1)
    assert first > 1_000
    assert max(rest) < 100
