"""Samples as batches: shares of processes, caching and reading ahead."""

import errno
import os
from collections import Counter

import numpy as np
import pytest
import torch

from tests.support.projects import load_recipe
from unidiff_cli import train
from unidiff_cli.data.dataset import BatchPlan, Samples, loader
from unidiff_cli.data.shards import Shards
from unidiff_cli.errors import EnvironmentProblem
from unidiff_cli.models import loading
from unidiff_cli.project import run_log
from unidiff_cli.training import precompute
from unidiff_cli.training.module import combined_needs


@pytest.fixture(scope="module")
def shards(prepared):
    return Shards.open(prepared.path("shards"))


@pytest.fixture(scope="module")
def training_rows(shards):
    return shards.rows("train")


@pytest.fixture(scope="module")
def base(tiny_base):
    return loading.load_base(str(tiny_base), 32)


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


def test_loader_processes_give_the_same_batches(shards, training_rows, base):
    samples = Samples(shards, training_rows, BatchPlan(4, 3), transforms=base.transforms())
    alone, ahead = (list(loader(samples, range(2, 5), workers)) for workers in (0, 2))
    assert [b.captions for b in alone] == [b.captions for b in ahead]
    for a, b in zip(alone, ahead, strict=True):
        assert torch.equal(a.clip_pixels, b.clip_pixels)


def test_equal_captions_share_an_id_whatever_their_case(shards, training_rows):
    batch = Samples(shards, training_rows, BatchPlan(48, 0))[0]
    uses = Counter(batch.caption_ids.tolist())
    assert len(uses) == len(set(batch.captions)) and max(uses.values()) == 2
    assert len(set(batch.group_ids.tolist())) == len({row.group for row in batch.rows})


def test_only_the_rows_of_the_denoiser_have_its_tensors(shards, training_rows, base):
    plan = BatchPlan(8, 0, denoise_batch=2)
    batch = Samples(shards, training_rows, plan, transforms=base.transforms())[3]
    whole = Samples(shards, training_rows, BatchPlan(8, 0), transforms=base.transforms())[3]
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


# ---------------------------------------------------------------- the cache


@pytest.fixture
def needs(recipe):
    return combined_needs(recipe.active())


def test_the_cache_holds_what_would_be_computed(project, shards, base, needs):
    rows, plan = shards.rows("val"), BatchPlan(6, 0, "listed")
    files = precompute.fill_cache(project, base, shards, "hash", rows, needs)
    fresh = Samples(shards, rows, plan, transforms=base.transforms())[0]
    cached = Samples(shards, rows, plan, cached=files)[0]
    assert torch.equal(cached.clip_pixels, fresh.clip_pixels)
    mean, std = base.encode(fresh.diffusion_pixels)
    assert torch.allclose(cached.latents.float(), torch.cat([mean, std], 1), rtol=2e-3, atol=1e-4)


def test_the_cache_is_made_once_for_the_same_shards(project, shards, base, needs):
    rows = shards.rows("val")
    files = precompute.fill_cache(project, base, shards, "hash", rows, needs)
    before = {path: path.stat().st_mtime_ns for path in files.values()}
    assert precompute.fill_cache(project, base, shards, "hash", rows, needs) == files
    assert before == {path: path.stat().st_mtime_ns for path in files.values()}
    other = precompute.fill_cache(project, base, shards, "another catalogue", rows, needs)
    assert set(other.values()).isdisjoint(files.values())


def test_images_are_encoded_within_the_memory_budget(base, monkeypatch):
    pixels = torch.randint(
        0, 256, (5, 3, 32, 32), generator=torch.Generator().manual_seed(0)
    ).byte()
    whole, sizes, encode = base.encode(pixels), [], base.vae.encode
    monkeypatch.setattr("unidiff_cli.models.families.stable_diffusion.PIXELS", 2 * 32 * 32)
    monkeypatch.setattr(base.vae, "encode", lambda x: (sizes.append(len(x)), encode(x))[1])
    for part, all_at_once in zip(base.encode(pixels), whole, strict=True):
        assert torch.allclose(part, all_at_once, atol=1e-5)
    assert sizes == [2, 2, 1]
    # An image larger than the budget goes alone.
    monkeypatch.setattr("unidiff_cli.models.families.stable_diffusion.PIXELS", 1)
    base.encode(pixels)
    assert sizes[3:] == [1] * 5


def test_a_full_disk_is_a_sentence_and_leaves_no_half_cache(
    project, shards, base, needs, monkeypatch
):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(EnvironmentProblem, match="No space left"):
        precompute.fill_cache(project, base, shards, "hash", shards.rows("val"), needs)
    assert not list(project.path("cache").rglob("*.npy"))


def test_half_precision_trains_and_stays_finite(project, tiny_base):
    name, _ = train(project, load_recipe(tiny_base, "train.precision=bf16", "train.steps=3"))
    lines = run_log.read(project.path("runs", name))
    assert np.isfinite([line["loss"] for line in lines if "loss" in line]).all()
