"""A project on object storage (a local S3): another machine streams, resumes, exports and finds."""

import shutil
import signal
import time

import pytest

from tests.support.cli import Training, on_tiny_base
from tests.support.projects import copy_project, load_recipe
from tests.support.runs import Cut, contrastive, cut_at, losses
from tests.support.s3 import local_s3
from unidiff_cli import Project, Recipe, export, index, retrieve, train
from unidiff_cli.errors import WorkError
from unidiff_cli.project import checkpoints
from unidiff_cli.project.storage import write_address

pytest.importorskip("s3fs", reason="the test extra is not installed")
pytest.importorskip("moto.server", reason="the test extra is not installed")

STREAMED = ("train.streaming=true", "train.cache_latents=false", "train.steps=4")


@pytest.fixture(scope="module")
def s3():
    with local_s3("shop") as client:
        yield client


@pytest.fixture
def address(s3, request):
    return f"s3://shop/{request.node.name.replace('[', '-').strip(']')}"


@pytest.fixture
def first(project, address):
    """A prepared project that is stored."""
    write_address(project.root, address)
    project.keep("shards")
    return project


def elsewhere(folder, address):
    """The same project on another machine, where nothing of it is."""
    other = Project(folder)
    other.create()
    write_address(other.root, address)
    return other


@pytest.fixture
def streamed(tiny_base):
    return load_recipe(tiny_base, *STREAMED, "train.checkpoint_every=2")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, prepared, tiny_base):
    """The losses of a run on local shards that was not interrupted."""
    project = copy_project(prepared, tmp_path_factory.mktemp("whole"))
    name, _ = train(project, load_recipe(tiny_base, *STREAMED, "train.checkpoint_every=2"))
    return losses(project, name)


def test_a_run_elsewhere_streams_the_same_samples(first, address, tmp_path, streamed, whole):
    second = elsewhere(tmp_path / "second", address)
    name, receipt = train(second, streamed)
    assert losses(second, name) == whole
    assert not list(second.path("shards").glob("*.tar"))
    # The work is known everywhere.
    assert train(first, streamed) == (name, receipt)
    assert first.path("runs", name, "checkpoints", "step-000004").is_dir()


@pytest.mark.slow
def test_workers_elsewhere_stream_the_same_samples(first, address, tmp_path, tiny_base, whole):
    second = elsewhere(tmp_path / "second", address)
    recipe = load_recipe(tiny_base, *STREAMED, "train.workers=2")
    assert losses(second, train(second, recipe)[0]) == whole


@pytest.mark.slow
def test_two_processes_stream_what_one_does(first, address, tmp_path, tiny_base):
    second, third = (elsewhere(tmp_path / folder, address) for folder in ("second", "third"))
    recipe = load_recipe(tiny_base, *STREAMED, "train.processes=2", "train.workers=1")
    train(second, recipe)
    write_address(third.root, f"{address}-alone")
    shutil.copytree(first.path("shards"), third.path("shards"))
    train(third, load_recipe(tiny_base, *STREAMED))
    assert contrastive(second) == pytest.approx(contrastive(third), rel=1e-3)


def test_a_run_goes_on_elsewhere_from_its_checkpoint(first, address, tmp_path, streamed, whole):
    with pytest.raises(Cut):
        train(first, streamed, on_step=cut_at(3))
    second = elsewhere(tmp_path / "second", address)
    name, _ = train(second, streamed, resume=True)
    assert losses(second, name) == whole
    # Back here, where less of it was done.
    assert train(first, streamed, resume=True)[0] == name and losses(first, name) == whole


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_elsewhere(first, address, tmp_path, tiny_base, whole):
    assignments = (*STREAMED, "train.checkpoint_every=1")
    on_tiny_base(first, tiny_base)
    with Training(first, *(word for each in assignments for word in ("--set", each))) as training:
        while not first.storage.contents("runs/001-fashion"):
            assert training.process.poll() is None, training.process.communicate()
            time.sleep(0.05)
        training.send(signal.SIGKILL)
    second = elsewhere(tmp_path / "second", address)
    name, _ = train(second, Recipe(), resume=True)
    assert losses(second, name) == whole


def test_checkpoints_that_are_deleted_here_are_deleted_there(first, address, s3, tiny_base):
    few = ("train.checkpoint_every=1", "train.keep_checkpoints=1")
    name, _ = train(first, load_recipe(tiny_base, *STREAMED, *few))
    here = {path.name for path in checkpoints.all_of(first.path("runs", name, "checkpoints"))}
    prefix = f"{address.removeprefix('s3://shop/')}/runs/{name}/checkpoints/"
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="shop", Prefix=prefix)
    keys = [each["Key"] for page in pages for each in page["Contents"]]
    assert {key.removeprefix(prefix).split("/")[0] for key in keys} == here


def test_another_run_of_that_name_is_not_replaced(first, address, tmp_path, tiny_base, streamed):
    """Of two machines that began at a time, the one that stores first has the name."""
    second = elsewhere(tmp_path / "second", address)
    with pytest.raises(Cut):
        train(first, streamed, on_step=cut_at(1))
    other = load_recipe(tiny_base, *STREAMED, "train.seed=5")
    name, receipt = train(second, other)
    # What is here of that name is another run.
    with pytest.raises(WorkError, match="another run"):
        train(first, streamed, resume=name)
    assert first.storage.contents(f"runs/{name}").finished == receipt.finished


def test_export_index_and_retrieve_elsewhere(first, address, tmp_path, streamed):
    name, _ = train(first, streamed)
    second, third = (elsewhere(tmp_path / folder, address) for folder in ("second", "third"))
    assert export(second)[0] == name
    index(third)
    fourth = elsewhere(tmp_path / "fourth", address)
    found = [[hit.id for hit in retrieve(each, "red dress", k=3)] for each in (third, fourth)]
    assert len(found[0]) == 3 and found[0] == found[1]
    assert not fourth.path("runs").exists()
