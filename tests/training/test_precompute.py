"""Precomputed tensors: those that would be computed, made once, never half."""

import errno
import json
import os
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.support.projects import copy_project
from unidiff_cli import train
from unidiff_cli.config.train import Augment
from unidiff_cli.data.augmentation import Augmentation
from unidiff_cli.data.batch import open_image
from unidiff_cli.data.dataset import MIRRORED, BatchPlan, Samples
from unidiff_cli.data.reads import Reads
from unidiff_cli.data.shards import Shards
from unidiff_cli.data.stored_rows import StoredRows
from unidiff_cli.errors import EnvironmentProblem
from unidiff_cli.models import loading
from unidiff_cli.objectives import needs_of
from unidiff_cli.project.row_store import KEYS
from unidiff_cli.training import precompute
from unidiff_cli.training.cache_rows import image_keys
from unidiff_cli.training.precompute import fill_cache
from unidiff_cli.training.share import Share


@pytest.fixture(scope="module")
def shards(prepared):
    return Shards.open(prepared.path("shards"))


@pytest.fixture(scope="module")
def base(tiny_base):
    return loading.load_base(str(tiny_base), 32)


@pytest.fixture
def rows(shards):
    return shards.rows("val")


@pytest.fixture
def needs(recipe):
    return needs_of(recipe.active().values())


@pytest.fixture
def computed(monkeypatch):
    """How many rows were computed, by tensor."""
    counts, made = Counter(), precompute.values_of

    def counted(base, name, pixels):
        values = made(base, name, pixels)
        counts[name] += len(values)
        return values

    monkeypatch.setattr(precompute, "values_of", counted)
    return counts


def stored(folders, rows):
    keys = list(image_keys(rows))
    return {name: StoredRows.of(folder, keys) for name, folder in folders.items()}


def test_the_cache_holds_what_would_be_computed(project, shards, base, rows, needs):
    folders = fill_cache(project, base, shards, rows, needs)
    plan = BatchPlan(6, 0, "listed")
    fresh = Samples(shards, rows, plan, transforms=base.transforms())[0]
    cached = Samples(shards, rows, plan, cached=stored(folders, rows))[0]
    assert torch.equal(cached.clip_pixels, fresh.clip_pixels)
    latents = torch.cat(base.encode_latents(fresh.diffusion_pixels), 1)
    assert torch.allclose(cached.latents.float(), latents, rtol=2e-3, atol=1e-4)
    embeds = base.encode_images(fresh.clip_pixels)
    assert torch.allclose(cached.frozen_image_embeds, embeds, atol=1e-5)


def test_mirrored_images_have_latents_of_their_own(project, shards, base, rows, needs):
    folders = fill_cache(project, base, shards, rows, needs, mirrored=True)
    pixels = base.diffusion_pixels([open_image(shards, row) for row in rows])
    latents = torch.cat(base.encode_latents(pixels.flip(-1)), 1)
    kept = stored(folders, rows)[MIRRORED].take(range(len(rows)))
    assert torch.allclose(kept.float(), latents, rtol=2e-3, atol=1e-4)
    plan = BatchPlan(len(rows), 0)
    augmentation = Augmentation(rows, Augment(flips=0.5), seed=0)
    cached = stored(folders, rows)
    batch = Samples(shards, rows, plan, cached=cached, augmentation=augmentation)[0]
    assert 0 < len(batch.mirrored) < len(rows)
    for i, row in enumerate(batch.rows):
        name = MIRRORED if i in batch.mirrored else "latents"
        assert np.array_equal(batch.latents[i], cached[name].take([rows.index(row)])[0])


def test_the_cache_is_made_once(project, shards, base, rows, needs, computed):
    folders = fill_cache(project, base, shards, rows, needs)
    assert set(computed.values()) == {len({row.content for row in rows})}
    computed.clear()
    assert fill_cache(project, base, shards, rows, needs) == folders and not computed


def test_an_image_more_or_another_costs_one_row(project, shards, base, rows, needs, computed):
    first = fill_cache(project, base, shards, rows[1:], needs)
    before = stored(first, rows[1:])["latents"].take(range(len(rows) - 1))
    computed.clear()
    assert fill_cache(project, base, shards, rows, needs) == first
    assert set(computed.values()) == {1} and set(computed) == set(first)
    after = stored(first, rows)["latents"].take(range(1, len(rows)))
    assert np.array_equal(after, before)


def test_the_cache_is_of_the_bytes_whatever_else_changes(
    project, shards, base, rows, needs, computed
):
    fill_cache(project, base, shards, rows, needs)
    computed.clear()
    others = [replace(row, id=f"{row.id}-b", captions=("other",), split="train") for row in rows]
    fill_cache(project, base, shards, others, needs)
    assert not computed


def test_what_a_stopped_call_computed_is_kept(
    project, shards, base, rows, needs, computed, monkeypatch
):
    monkeypatch.setattr(precompute, "CHUNK", 2)
    monkeypatch.setattr(precompute, "PATIENCE", 0.0)

    def stop(label, done, total):
        if done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill_cache(project, base, shards, rows, needs, stop)
    done = computed["latents"]
    fill_cache(project, base, shards, rows, needs)
    assert 4 <= done and computed["latents"] == len({row.content for row in rows})


def test_processes_share_the_work(project, shards, base, rows, needs, computed):
    shares = [Share(rank, 2) for rank in range(2)]
    parts = []
    for share in shares:
        fill_cache(project, base, shards, rows, needs, share=share)
        parts.append(computed["latents"] - sum(parts))
    assert min(parts) > 0 and sum(parts) == len({row.content for row in rows})
    computed.clear()
    stored(fill_cache(project, base, shards, rows, needs), rows)
    assert not computed


def test_damage_is_computed_again(project, shards, base, rows, needs, computed):
    folders = fill_cache(project, base, shards, rows, needs)
    whole = stored(folders, rows)["latents"].take(range(len(rows)))
    [file] = [f for f in folders["latents"].iterdir() if not f.name.endswith(KEYS)]
    data = bytearray(file.read_bytes())
    data[300] ^= 4
    file.write_bytes(data)
    computed.clear()
    fill_cache(project, base, shards, rows, needs)
    assert set(computed) == {"latents"}
    assert np.array_equal(stored(folders, rows)["latents"].take(range(len(rows))), whole)


def test_a_full_disk_is_a_sentence_and_leaves_no_half_cache(
    project, shards, base, rows, needs, monkeypatch
):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("unidiff_cli.project.row_store.seal_array", full)
    with pytest.raises(EnvironmentProblem, match="No space left"):
        fill_cache(project, base, shards, rows, needs)
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


def test_a_short_run_computes_what_it_reads(prepared, tmp_path, recipe, computed):
    """Two steps of four samples, of which the denoiser sees two."""
    options = recipe.train.model_copy(
        update={"steps": 2, "batch_size": 4, "denoise_batch": 2, "preview_every": 0}
    )
    short = recipe.model_copy(update={"train": options})
    project = copy_project(prepared, tmp_path)
    shards = Shards.open(project.path("shards"))
    held_out, training = len(shards.rows("val")), len(shards.rows("train"))
    name, _ = train(project, short)
    assert computed["clip_pixels"] == 8 + held_out < training
    assert computed["latents"] == 4 + held_out
    log = project.path("runs", name, "log.jsonl")
    losses = [json.loads(line).get("loss") for line in log.read_text().splitlines()]
    computed.clear()
    # A longer run computes the others.
    longer = short.model_copy(update={"train": options.model_copy(update={"steps": 40})})
    train(project, longer)
    assert computed["clip_pixels"] == training - 8 and computed["latents"] == training - 4
    # With all there, the short one is the same.
    train(project, short, force=True)
    log = project.path("runs", "003-fashion", "log.jsonl")
    again = [json.loads(line).get("loss") for line in log.read_text().splitlines()]
    assert again == losses and any(losses)


def test_a_row_that_was_not_computed_is_never_given(project, shards, base, rows, needs):
    none = np.zeros(len(rows), bool)
    some = none.copy()
    some[:2] = True
    folders = fill_cache(project, base, shards, rows, needs, reads=Reads(some, none))
    keys = list(image_keys(rows))
    kept = StoredRows.of(folders["clip_pixels"], keys, some)
    assert len(kept.take([0, 1])) == 2
    with pytest.raises(IndexError, match="not in the store"):
        kept.take([0, 2])
    with pytest.raises(EnvironmentProblem, match=f"lacks {len(rows) - 2}"):
        StoredRows.of(folders["clip_pixels"], keys)
