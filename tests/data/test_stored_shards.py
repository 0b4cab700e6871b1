"""Shards at a project's storage: streamed by ranges, with the samples that the local ones give."""

import pytest
import torch

from tests.support.batches import mean_colours
from tests.support.catalogue import encoded, photo
from tests.support.object_store import ObjectStore, counted, stored_at
from tests.support.shards import row_of, write_shards
from unidiff_cli import Project
from unidiff_cli.data.batch import open_image
from unidiff_cli.data.dataset import BatchPlan, Samples, loader
from unidiff_cli.data.shard_check import verify
from unidiff_cli.data.shards import Shards, resplit
from unidiff_cli.data.streaming import StreamedSamples, read_span
from unidiff_cli.errors import Damaged, EnvironmentProblem, NotReady
from unidiff_cli.project import storage

COUNT, SIZE = 90, 20
TRANSFORMS = {"clip_pixels": mean_colours}


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """A bucket with 90 photos in shards of 20, two captions each."""
    folder = tmp_path_factory.mktemp("first")
    first = stored_at(Project(folder / "project"), folder / "bucket")
    samples = [(row_of(n, (f"one {n}", f"two {n}")), encoded(photo(n))) for n in range(COUNT)]
    write_shards(first.path("shards"), samples, SIZE)
    first.keep("shards")
    return folder / "bucket"


@pytest.fixture(scope="module")
def local(bucket):
    """The same shards on this machine."""
    return Shards.open(bucket.parent / "project" / "shards")


@pytest.fixture
def stored(tmp_path, bucket):
    """The shards as another machine sees them: their index here, their tars there."""
    return Shards.of(stored_at(Project(tmp_path / "second"), bucket))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(storage, "PAUSE", 0.0)
    yield
    ObjectStore.failures.clear()


def streamed(shards, kind=StreamedSamples, **plan):
    plan = BatchPlan(**{"batch_size": 10, "seed": 3, **plan})
    return kind(shards, shards.rows("train"), plan, transforms=TRANSFORMS)


def same(first, second):
    names = ("step", "positions", "captions", "rows", "denoise_rows")
    return all(getattr(first, name) == getattr(second, name) for name in names) and torch.equal(
        first.clip_pixels, second.clip_pixels
    )


def test_only_the_index_is_fetched(stored, local):
    names = {file.name for file in stored.folder.iterdir()}
    assert names == {"index.parquet", "index.arrow", "receipt.json"}
    assert list(stored.rows()) == list(local.rows()) and not stored.has_tars()


@pytest.mark.parametrize("start", [0, 5, 13])
def test_a_stream_is_that_of_local_shards_from_any_step(stored, local, start):
    whole = list(loader(streamed(local), range(15)))
    there = list(loader(streamed(stored), range(start, 15)))
    assert all(same(a, b) for a, b in zip(whole[start:], there, strict=True))


@pytest.mark.parametrize(("world", "workers"), [(1, 2), (2, 0), (5, 0)])
def test_ranks_and_workers_share_one_stream(stored, local, world, workers):
    whole = list(loader(streamed(local), range(3, 7)))
    shares = [
        list(loader(streamed(stored, rank=rank, world=world), range(3, 7), workers))
        for rank in range(world)
    ]
    for step, batch in enumerate(whole):
        pixels = torch.cat([share[step].clip_pixels for share in shares])
        assert torch.equal(pixels, batch.clip_pixels)
        assert [row for share in shares for row in share[step].rows] == batch.rows


def test_a_span_is_one_request(stored):
    samples = streamed(stored)
    with counted() as asked:
        list(loader(samples, range(9)))
    spans = len(samples.order.epoch(0).spans)
    assert {kind for kind, _ in asked} == {"get"}
    assert spans <= len(asked) <= spans + samples.plan.batch_size < COUNT


def test_samples_by_position_are_read_one_by_one(stored, local):
    there, here = (streamed(shards, Samples) for shards in (stored, local))
    with counted() as asked:
        assert same(there[4], here[4])
    assert len(asked) == 10
    assert (
        open_image(stored, stored.rows()[7]).tobytes()
        == open_image(local, local.rows()[7]).tobytes()
    )


# ---------------------------------------------------------------- what goes wrong


def test_a_request_that_fails_now_and_then_is_made_again(stored, local):
    ObjectStore.failures += [TimeoutError("slow"), ConnectionError("reset")]
    rows = stored.rows()[0:5]
    assert read_span(stored, rows) == read_span(local, rows)
    assert not ObjectStore.failures


def test_an_answer_that_is_cut_short_is_asked_for_again(stored, local, monkeypatch):
    cat, answers = ObjectStore.cat_file, []

    def cut(self, path, start=None, end=None):
        answers.append(path)
        return cat(self, path, start, end)[: None if len(answers) > 1 else 100]

    monkeypatch.setattr(ObjectStore, "cat_file", cut)
    rows = stored.rows()[0:5]
    assert read_span(stored, rows) == read_span(local, rows) and len(answers) == 2


def test_a_place_that_stays_away_is_named(stored):
    ObjectStore.failures += [ConnectionError("no route")] * 2 * storage.ATTEMPTS
    with pytest.raises(EnvironmentProblem, match=r"objects://.*train-00000-\w{16}.tar.*no route"):
        read_span(stored, stored.rows()[0:5])


@pytest.fixture
def damaged(tmp_path, bucket):
    """A bucket of one's own, the object of its first shard, and its shards seen from elsewhere."""
    import shutil

    own = shutil.copytree(bucket, tmp_path / "bucket")
    [tar] = own.glob("shards/train-00000-*.tar")
    return tar, Shards.of(stored_at(Project(tmp_path / "second"), own))


def test_a_changed_byte_there_names_object_and_sample(damaged):
    tar, shards = damaged
    data, row = bytearray(tar.read_bytes()), shards.rows()[2]
    data[row.image_offset + 40] ^= 1
    tar.write_bytes(data)
    for read in (lambda: read_span(shards, shards.rows()[0:5]), lambda: shards.image_bytes(row)):
        with pytest.raises(Damaged, match=f"{tar.name}: the image of sample 000000002 is damaged"):
            read()
    [damage] = verify(shards)
    assert (damage.shard, damage.sample) == ("train-00000.tar", row.key)


@pytest.mark.parametrize("left", [0, 3000])
def test_an_object_that_is_too_short_is_damaged(damaged, left):
    tar, shards = damaged
    tar.write_bytes(tar.read_bytes()[:left])
    with pytest.raises(Damaged, match=tar.name):
        read_span(shards, shards.rows()[0:SIZE])


def test_an_object_that_is_gone_is_named(damaged):
    tar, shards = damaged
    tar.unlink()
    with pytest.raises(Damaged, match=f"{tar.name} is missing"):
        read_span(shards, shards.rows()[0:5])


def test_other_splits_want_the_tars_here(stored, tmp_path):
    with pytest.raises(NotReady, match="lie at the project's storage alone") as error:
        resplit(stored, tmp_path, lambda row: "train")
    assert "--fetch shards" in error.value.action
