"""Order, shares, caching and reading ahead."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unidiff_cli.data.dataset import Samples, loader
from unidiff_cli.data.order import DistinctOrder, shuffled_index
from unidiff_cli.data.shards import Row, Shards
from unidiff_cli.errors import EnvironmentProblem
from unidiff_cli.models import loading
from unidiff_cli.training import precompute
from unidiff_cli.training.module import combined_needs


@pytest.fixture(scope="module")
def shards(prepared):
    return Shards.open(prepared.path("shards"))


@pytest.fixture(scope="module")
def base(tiny_base):
    return loading.load_base(str(tiny_base), 32)


def test_every_sample_comes_once_an_epoch_and_epochs_differ():
    epochs = [
        [shuffled_index(10, 7, position) for position in range(e * 10, e * 10 + 10)]
        for e in range(3)
    ]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert shuffled_index(10, 7, 25) == epochs[2][5]  # no need to have read what came before


@pytest.mark.parametrize("world", [1, 2, 4])
def test_processes_share_a_batch_in_order(shards, world):
    rows = shards.rows("train")
    shares = [
        Samples(shards, rows, batch_size=8, seed=0, rank=r, world=world) for r in range(world)
    ]
    together = [row.id for share in shares for row in share[5].rows]
    assert together == [row.id for row in Samples(shards, rows, batch_size=8, seed=0)[5].rows]


def test_validation_reads_every_row_once_in_order(shards):
    rows = shards.rows("train")
    samples = Samples(shards, rows, batch_size=7, seed=0, shuffle=False)
    assert [row.id for batch in loader(samples, range(len(samples))) for row in batch.rows] == [
        r.id for r in rows
    ]


def test_loader_processes_give_the_same_batches(shards, base):
    options = {"batch_size": 4, "seed": 3, "transforms": base.transforms()}
    here = list(loader(Samples(shards, shards.rows("train"), **options), range(2, 5)))
    ahead = list(loader(Samples(shards, shards.rows("train"), **options), range(2, 5), workers=2))
    assert [b.captions for b in here] == [b.captions for b in ahead]
    assert all(torch.equal(a.clip_pixels, b.clip_pixels) for a, b in zip(here, ahead, strict=True))


def test_equal_captions_share_an_id_whatever_their_case(shards):
    batch = Samples(shards, shards.rows("train"), batch_size=48, seed=0)[0]
    by_id = Counter(batch.caption_ids.tolist())
    assert len(by_id) == len(set(batch.captions)) and max(by_id.values()) == 2
    assert len(set(batch.group_ids.tolist())) == len({row.group for row in batch.rows})


def test_the_cache_holds_what_would_be_computed_and_is_made_once(project, shards, base, recipe):
    rows = shards.rows("val")
    asked = combined_needs(recipe.active())
    files = precompute.fill_cache(project, base, shards, "hash", rows, asked)
    fresh = Samples(
        shards, rows, batch_size=6, seed=0, shuffle=False, transforms=base.transforms()
    )[0]
    kept = Samples(shards, rows, batch_size=6, seed=0, shuffle=False, cached=files)[0]
    assert torch.equal(kept.clip_pixels, fresh.clip_pixels)
    mean, std = base.encode(fresh.diffusion_pixels)
    assert torch.allclose(kept.latents.float(), torch.cat([mean, std], 1), rtol=2e-3, atol=1e-4)
    before = {path: path.stat().st_mtime_ns for path in files.values()}
    assert precompute.fill_cache(project, base, shards, "hash", rows, asked) == files
    assert before == {path: path.stat().st_mtime_ns for path in files.values()}
    other = precompute.fill_cache(project, base, shards, "another catalogue", rows, asked)
    assert set(other.values()).isdisjoint(files.values())


def test_images_are_encoded_within_the_memory_budget(base, monkeypatch):
    pixels = torch.randint(
        0, 256, (5, 3, 32, 32), generator=torch.Generator().manual_seed(0)
    ).byte()
    whole, seen, encode = base.encode(pixels), [], base.vae.encode
    monkeypatch.setattr("unidiff_cli.models.families.stable_diffusion.PIXELS", 2 * 32 * 32)
    monkeypatch.setattr(base.vae, "encode", lambda x: (seen.append(len(x)), encode(x))[1])
    for part, all_at_once in zip(base.encode(pixels), whole, strict=True):
        assert torch.allclose(part, all_at_once, atol=1e-5)
    assert seen == [2, 2, 1]
    monkeypatch.setattr("unidiff_cli.models.families.stable_diffusion.PIXELS", 1)
    base.encode(pixels)
    assert seen[3:] == [1] * 5  # an image larger than the budget goes alone


def test_a_full_disk_is_a_sentence_and_leaves_no_half_cache(
    project, shards, base, recipe, monkeypatch
):
    import errno
    import os

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(EnvironmentProblem, match="No space left"):
        precompute.fill_cache(
            project, base, shards, "hash", shards.rows("val"), combined_needs(recipe.active())
        )
    assert not list(project.path("cache").rglob("*.npy"))


def test_half_precision_trains_and_stays_finite(project, tiny_base):
    from tests.support.projects import load_recipe
    from unidiff_cli import train
    from unidiff_cli.project import run_log

    name, _ = train(project, load_recipe(tiny_base, "train.precision=bf16", "train.steps=3"))
    assert np.isfinite(
        [line["loss"] for line in run_log.read(project.path("runs", name)) if "loss" in line]
    ).all()


# ---------------------------------------------------------------- without duplicates


def rows_of(groups, captions):
    return [
        Row(str(i), str(i), "train", f"g{g}", (f"c{c}",), {})
        for i, (g, c) in enumerate(zip(groups, captions, strict=True))
    ]


def alike(rows, stream, size):
    """How many samples of each batch have a like in it that came before."""
    batches = [
        [rows[i] for i in stream[at : at + size]] for at in range(0, len(stream) - size + 1, size)
    ]
    return [2 * size - len({r.group for r in b}) - len({r.captions for r in b}) for b in batches]


@given(
    groups=st.lists(st.integers(0, 12), min_size=1, max_size=40),
    size=st.integers(2, 12),
    seed=st.integers(0, 5),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_apart_is_an_order_every_epoch_and_can_be_read_anywhere(groups, size, seed, data):
    captions = data.draw(st.lists(st.integers(0, 12), min_size=len(groups), max_size=len(groups)))
    rows, count = rows_of(groups, captions), len(groups)
    apart = DistinctOrder(rows, size, seed)
    stream = [apart(p) for p in range(3 * count)]
    for epoch in range(3):
        assert sorted(stream[epoch * count : (epoch + 1) * count]) == list(range(count))
    assert [DistinctOrder(rows, size, seed)(p) for p in reversed(range(3 * count))] == stream[::-1]


@given(st.lists(st.integers(1, 6), min_size=1, max_size=20), st.integers(0, 5), st.integers(2, 6))
@settings(max_examples=60, deadline=None)
def test_groups_that_can_be_kept_apart_are(sizes, seed, batches):
    """Whole batches, no group larger than their number: then there is an arrangement, and it is found."""
    groups = [g for g, size in enumerate(sizes) for _ in range(min(size, batches))]
    groups += range(100, 100 + -len(groups) % batches)
    rows, size = rows_of(groups, range(len(groups))), len(groups) // batches
    apart = DistinctOrder(rows, size, seed)
    assert sum(alike(rows, [apart(p) for p in range(2 * len(rows))], size)) == 0


def test_a_catalogue_with_few_groups_spreads_them_evenly():
    rows = rows_of([i % 3 for i in range(48)], range(48))
    apart = DistinctOrder(rows, 8, 0)
    stream = [apart(p) for p in range(48)]
    for at in range(0, 48, 8):
        most = Counter(rows[i].group for i in stream[at : at + 8]).values()
        assert max(most) - min(most) <= 1


@pytest.mark.parametrize("seed", range(6))
def test_batches_that_two_epochs_share_hold_no_duplicate_either(seed):
    generator = np.random.default_rng(seed)
    rows = rows_of(generator.integers(0, 300, 610), generator.integers(0, 580, 610))
    apart = DistinctOrder(rows, 64, seed)
    stream = [apart(p) for p in range(64 * 40)]
    assert sum(alike(rows, stream, 64)) == 0
    plain = [shuffled_index(610, seed, p) for p in range(64 * 40)]
    assert sum(alike(rows, plain, 64)) > 200  # what it is for


def test_a_recipe_turns_it_on_and_processes_share_it(shards):
    rows = shards.rows("train")
    whole = Samples(shards, rows, batch_size=8, seed=0, no_duplicates=True)
    shares = [
        Samples(shards, rows, batch_size=8, seed=0, rank=r, world=2, no_duplicates=True)
        for r in range(2)
    ]
    for step in range(10):
        together = [row for share in shares for row in share[step].rows]
        assert together == whole[step].rows and len({row.group for row in together}) == 8
