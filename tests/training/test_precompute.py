"""Precomputed tensors: those that would be computed, made once, never half."""

import errno
import os

import pytest
import torch

from unidiff_cli.data.dataset import BatchPlan, Samples
from unidiff_cli.data.shards import Shards
from unidiff_cli.errors import EnvironmentProblem
from unidiff_cli.models import loading
from unidiff_cli.objectives import needs_of
from unidiff_cli.training.precompute import fill_cache


@pytest.fixture(scope="module")
def shards(prepared):
    return Shards.open(prepared.path("shards"))


@pytest.fixture(scope="module")
def base(tiny_base):
    return loading.load_base(str(tiny_base), 32)


@pytest.fixture
def splits(shards):
    return {"val": shards.rows("val")}


@pytest.fixture
def needs(recipe):
    return needs_of(recipe.active().values())


def test_the_cache_holds_what_would_be_computed(project, shards, base, splits, needs):
    files = fill_cache(project, base, shards, splits, needs)["val"]
    plan = BatchPlan(6, 0, "listed")
    fresh = Samples(shards, splits["val"], plan, transforms=base.transforms())[0]
    cached = Samples(shards, splits["val"], plan, cached=files)[0]
    assert torch.equal(cached.clip_pixels, fresh.clip_pixels)
    latents = torch.cat(base.encode_latents(fresh.diffusion_pixels), 1)
    assert torch.allclose(cached.latents.float(), latents, rtol=2e-3, atol=1e-4)


def test_the_cache_is_made_once(project, shards, base, splits, needs):
    files = fill_cache(project, base, shards, splits, needs)
    before = {path: path.stat().st_mtime_ns for path in files["val"].values()}
    assert fill_cache(project, base, shards, splits, needs) == files
    assert before == {path: path.stat().st_mtime_ns for path in files["val"].values()}


def test_other_rows_have_another_cache(project, shards, base, splits, needs):
    files = fill_cache(project, base, shards, splits, needs)["val"]
    fewer = fill_cache(project, base, shards, {"val": splits["val"][1:]}, needs)["val"]
    assert set(fewer.values()).isdisjoint(files.values())


def test_a_full_disk_is_a_sentence_and_leaves_no_half_cache(
    project, shards, base, splits, needs, monkeypatch
):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(EnvironmentProblem, match="No space left"):
        fill_cache(project, base, shards, splits, needs)
    assert not list(project.path("cache").rglob("*.npy"))


def test_images_are_encoded_within_the_memory_budget(base, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (5, 3, 32, 32), generator=generator).byte()
    whole, sizes, encode = base.encode_latents(pixels), [], base.vae.encode
    monkeypatch.setattr("unidiff_cli.models.latent_diffusion.PIXELS", 2 * 32 * 32)
    monkeypatch.setattr(base.vae, "encode", lambda x: (sizes.append(len(x)), encode(x))[1])
    for part, all_at_once in zip(base.encode_latents(pixels), whole, strict=True):
        assert torch.allclose(part, all_at_once, atol=1e-5)
    assert sizes == [2, 2, 1]


def test_an_image_larger_than_the_budget_goes_alone(base, monkeypatch):
    sizes, encode = [], base.vae.encode
    monkeypatch.setattr("unidiff_cli.models.latent_diffusion.PIXELS", 1)
    monkeypatch.setattr(base.vae, "encode", lambda x: (sizes.append(len(x)), encode(x))[1])
    base.encode_latents(torch.zeros(3, 3, 32, 32).byte())
    assert sizes == [1, 1, 1]
