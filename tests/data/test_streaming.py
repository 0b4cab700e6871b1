"""Streamed samples: those of `Samples` in another order, and damage that is never a short epoch."""

import io
import tarfile
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.batches import mean_colours
from tests.support.catalogue import encoded, photo
from tests.support.damage import DAMAGE, damage
from tests.support.projects import load_recipe
from tests.support.runs import assert_resumes_exactly, losses
from tests.support.shards import random_samples, row_of, write_shards
from unidiff_cli.data import streaming
from unidiff_cli.data.batch import open_image
from unidiff_cli.data.dataset import BatchPlan, loader
from unidiff_cli.data.shards import Shards
from unidiff_cli.data.streaming import StreamedSamples, read_span
from unidiff_cli.errors import Damaged, RecipeError

COUNT = 90


TRANSFORMS = {"clip_pixels": mean_colours, "diffusion_pixels": mean_colours}


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Shards:
    """90 photos in shards of 20, with two captions each."""
    folder = tmp_path_factory.mktemp("streamed") / "shards"
    samples = [(row_of(n, (f"one {n}", f"two {n}")), encoded(photo(n))) for n in range(COUNT)]
    write_shards(folder, samples, 20)
    return Shards.open(folder)


def streamed(shards: Shards, **plan) -> StreamedSamples:
    plan = BatchPlan(**{"batch_size": 10, "seed": 3, **plan})
    return StreamedSamples(shards, shards.rows("train"), plan, transforms=TRANSFORMS)


def same(first, second) -> bool:
    """Whether two batches are equal."""
    names = ("step", "positions", "captions", "rows", "denoise_rows", "denoise_positions")
    tensors = ("clip_pixels", "diffusion_pixels", "caption_ids", "group_ids")
    return all(getattr(first, name) == getattr(second, name) for name in names) and all(
        torch.equal(getattr(first, name), getattr(second, name)) for name in tensors
    )


# ---------------------------------------------------------------- the same samples


def test_an_epoch_holds_every_sample_once(shards):
    for epoch in range(2):
        batches = loader(streamed(shards), range(9 * epoch, 9 * epoch + 9))
        keys = [row.key for batch in batches for row in batch.rows]
        assert sorted(keys) == [f"{n:09d}" for n in range(COUNT)]


def test_images_and_captions_are_those_of_their_rows(shards):
    for batch in loader(streamed(shards), range(12)):
        images = [open_image(shards, row) for row in batch.rows]
        assert torch.equal(batch.clip_pixels, mean_colours(images))
        for row, caption in zip(batch.rows, batch.captions, strict=True):
            assert caption in row.captions


@pytest.mark.parametrize("start", [1, 5, 13])
def test_a_resumed_run_reads_what_an_uninterrupted_one_would(shards, start):
    whole = list(loader(streamed(shards), range(15)))
    resumed = loader(streamed(shards), range(start, 15))
    assert all(same(a, b) for a, b in zip(whole[start:], resumed, strict=True))


@pytest.mark.parametrize("world", [2, 5])
def test_processes_share_a_batch_in_order(shards, world):
    whole = streamed(shards)
    shares = [streamed(shards, rank=rank, world=world) for rank in range(world)]
    for step in range(10):
        rows = [row for share in shares for row in share[step].rows]
        assert rows == whole[step].rows


def test_workers_give_the_same_batches(shards):
    samples = streamed(shards, denoise_batch=2)
    alone, ahead = (list(loader(samples, range(7, 12), workers)) for workers in (0, 2))
    assert all(same(a, b) for a, b in zip(alone, ahead, strict=True))


def test_a_span_is_read_once_for_all_steps(shards, monkeypatch):
    reads = []
    read = streaming.read_span
    monkeypatch.setattr(
        streaming, "read_span", lambda s, rows: (reads.append(rows[0].key), read(s, rows))[1]
    )
    samples = streamed(shards)
    list(loader(samples, range(9)))
    spans = len(samples.order.epoch(0).spans)
    assert spans <= len(reads) <= spans + samples.plan.batch_size < COUNT


def test_samples_of_another_split_may_lie_between(tmp_path):
    """As where the folds of a cross-validation share the tars."""
    samples = random_samples(12)
    rows = write_shards(tmp_path / "shards", samples, 12)
    images = read_span(Shards.open(tmp_path / "shards"), rows[2:9:3])
    assert images == [data for _, data in samples[2:9:3]]


def test_webdataset_is_given_bytes_and_opens_nothing(shards, monkeypatch):
    """Whatever the environment says: webdataset would run `pipe:` addresses in a shell."""

    def opened(*_, **__):
        raise AssertionError("webdataset opened something")

    monkeypatch.setenv("GOPEN_REWRITE", "/=pipe:touch ")
    monkeypatch.setattr("webdataset.tariterators.gopen.gopen", opened)
    monkeypatch.setattr("subprocess.Popen", opened)
    assert len(streamed(shards)[0].rows) == 10


# ---------------------------------------------------------------- damage


@pytest.fixture
def shard(tmp_path):
    """A shard of twelve samples that may be damaged: its path, the folder and the rows."""
    folder = tmp_path / "shards"
    rows = write_shards(folder, random_samples(12), 12)
    return folder / "train-00000.tar", folder, rows


def test_a_truncated_shard_is_an_error(shard):
    path, folder, rows = shard
    path.write_bytes(path.read_bytes()[: rows[7].image_offset + 5])
    with pytest.raises(Damaged, match="train-00000.tar"):
        read_span(Shards.open(folder), rows)


def test_a_shard_that_is_cut_between_samples_names_the_missing_one(shard):
    path, folder, rows = shard
    path.write_bytes(path.read_bytes()[: rows[7].image_offset - 512])
    with pytest.raises(Damaged, match="sample 000000007 is missing") as error:
        read_span(Shards.open(folder), rows)
    assert "prepare --force" in error.value.action


def test_a_flipped_byte_names_its_sample(shard):
    path, folder, rows = shard
    data = bytearray(path.read_bytes())
    data[rows[4].image_offset] ^= 1
    path.write_bytes(data)
    with pytest.raises(Damaged, match="the image of sample 000000004 is damaged"):
        read_span(Shards.open(folder), rows)


def renamed(data: bytes, old: str, new: str) -> bytes:
    """A tar whose members of one key have another, with right checksums."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as other:
            for info in tar:
                content = tar.extractfile(info)
                info.name = info.name.replace(old, new)
                other.addfile(info, content)
    return stream.getvalue()


def test_a_foreign_sample_is_an_error(shard):
    path, folder, rows = shard
    path.write_bytes(renamed(path.read_bytes(), "000000005", "999999999"))
    with pytest.raises(Damaged, match="a sample 999999999 that its index does not know"):
        read_span(Shards.open(folder), rows)


def test_a_sample_in_the_place_of_another_is_an_error(shard):
    path, folder, rows = shard
    path.write_bytes(renamed(path.read_bytes(), "000000005", "000000002"))
    with pytest.raises(Damaged):
        read_span(Shards.open(folder), rows[4:8])


def test_a_missing_shard_is_named(shard):
    path, folder, rows = shard
    path.unlink()
    with pytest.raises(Damaged, match="train-00000.tar cannot be read"):
        read_span(Shards.open(folder), rows)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "shards"
    samples = random_samples(12, seed=1)
    return folder, write_shards(folder, samples, 12), [data for _, data in samples]


@given(st.sampled_from(DAMAGE), st.integers(0, 1 << 20), st.integers(0, 1023))
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_damage_is_an_error_or_hits_nothing(whole, kind, place, much):
    folder, rows, images = whole
    path = folder / "train-00000.tar"
    before = path.read_bytes()
    try:
        path.write_bytes(damage(before, kind, place, much))
        assert read_span(Shards.open(folder), rows) == images
    except Damaged:
        pass
    finally:
        path.write_bytes(before)


@given(st.integers(0, 511), st.binary(min_size=1, max_size=12))
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_header_hangs(whole, offset, noise):
    """Headers with a right checksum and wrong sizes, negative ones too (CVE-2025-8194)."""
    folder, rows, images = whole
    path = folder / "train-00000.tar"
    before = path.read_bytes()
    data = bytearray(before)
    header = rows[3].image_offset - 512
    data[header + offset : header + offset + len(noise)] = noise
    data[header + 148 : header + 156] = b" " * 8
    checksum = sum(data[header : header + 512])
    data[header + 148 : header + 156] = b"%06o\0 " % checksum
    try:
        path.write_bytes(data)
        assert read_span(Shards.open(folder), rows) == images
    except Damaged:
        pass
    finally:
        path.write_bytes(before)


def test_an_index_that_names_other_bytes_is_not_believed(shard):
    _, folder, rows = shard
    wrong = [replace(row, image_crc=row.image_crc ^ 1) for row in rows]
    with pytest.raises(Damaged, match="the image of sample 000000000"):
        read_span(Shards.open(folder), wrong)


# ---------------------------------------------------------------- as a recipe has it

STREAMING = ("train.streaming=true", "train.cache_latents=false", "train.steps=4")


def test_a_streamed_run_resumes_exactly(project, tmp_path, tiny_base):
    recipe = load_recipe(tiny_base, *STREAMING, "train.checkpoint_every=2")
    name = assert_resumes_exactly(project, tmp_path, recipe, last=3)
    assert len(losses(project, name)) == 4


@pytest.mark.parametrize("key", ["cache_latents", "no_duplicates"])
def test_what_streaming_excludes_is_refused_by_name(tiny_base, key):
    with pytest.raises(RecipeError, match=f"set {key} to false"):
        load_recipe(tiny_base, *STREAMING, f"train.{key}=true")
