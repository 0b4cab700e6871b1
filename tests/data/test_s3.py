"""Catalogues on S3, against a local server (moto): folders, images, credentials, refusals."""

import pickle
import socket
from dataclasses import replace

import pytest

from tests.support.catalogue import encoded, photo
from tests.support.s3 import local_s3
from unidiff_cli import Project, Recipe, prepare
from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data import readers
from unidiff_cli.data.executors import ProcessExecutor
from unidiff_cli.data.locations import InMemory, locate
from unidiff_cli.data.remote import gathered
from unidiff_cli.data.sample import Rejected, Sample
from unidiff_cli.errors import EnvironmentProblem, UsageError

pytest.importorskip("s3fs", reason="the test extra is not installed")
pytest.importorskip("moto.server", reason="the test extra is not installed")


@pytest.fixture(scope="module")
def s3():
    """A client of a local S3 with the bucket `shop`, which s3:// addresses lead to."""
    with local_s3("shop") as client:
        yield client


@pytest.fixture
def folder(s3, request):
    """A folder of the bucket of one's own."""
    name = request.node.name.split("[")[0]
    write_photos(s3, name)
    return f"s3://shop/{name}"


def put(s3, key: str, data: bytes | str = b"") -> None:
    s3.put_object(Bucket="shop", Key=key, Body=data)


def write_photos(s3, name: str, count: int = 6) -> None:
    lines = [f"images/{n}.jpg,thing {n}" for n in range(count)]
    put(s3, f"{name}/captions.csv", "\n".join(["image,caption", *lines]))
    for n in range(count):
        put(s3, f"{name}/images/{n}.jpg", encoded(photo(n)))


def test_a_bucket_is_prepared_and_a_second_time_does_nothing(tmp_path, folder):
    receipt = prepare(Project(tmp_path), Recipe(), folder)
    assert receipt.counts["samples"] == 6 and receipt.counts["bad"] == 0
    assert receipt.settings["catalogue"]["path"] == folder
    assert prepare(Project(tmp_path), Recipe(), folder).finished == receipt.finished


def test_processes_read_their_images_themselves(folder):
    reader = readers.choose(folder, Prepare())
    images = [item.image for item in reader if isinstance(item, Sample)]
    results = ProcessExecutor(2, is_light=lambda source: False).map(size_of, images, 0)
    assert list(results) == [len(encoded(photo(n))) for n in range(6)]


def size_of(image) -> int:
    return len(image.read())


def test_small_images_of_a_task_are_read_together(s3, folder):
    images = [entry.location for entry in locate(folder).child("images").entries()]
    missing = replace(images[1], path=images[1].path + ".none")
    put(s3, images[2].path.removeprefix("shop/"), encoded(photo(99)) + b"grown")
    read = gathered([images[0], missing, images[2], images[3]])
    in_memory = [isinstance(each, InMemory) for each in read]
    assert in_memory == [True, False, False, True]
    assert read[0].read() == encoded(photo(0)) and read[3].read() == encoded(photo(3))
    assert read[1] is missing and read[2] is images[2]


def test_a_changed_object_has_another_version(s3, folder):
    image = locate(folder).child("images/3.jpg")
    before = image.version
    put(s3, image.path.removeprefix("shop/"), encoded(photo(99)))
    after = locate(folder).child("images/3.jpg")
    assert after.version != before and after.read() == encoded(photo(99))


def test_a_folder_of_more_than_one_page_is_listed_whole(s3):
    for n in range(25):
        put(s3, f"pages/{n:04d}.txt")
    names = [entry.location.name for entry in locate("s3://shop/pages").entries()]
    assert s3.list_objects_v2(Bucket="shop", Prefix="pages")["IsTruncated"]
    assert names == [f"{n:04d}.txt" for n in range(25)]


def test_objects_that_stand_for_folders_are_none(s3):
    for key in ("marked/", "marked/bags/", "marked/empty.txt"):
        put(s3, key)
    put(s3, "marked/bags/a.jpg", encoded(photo(0)))
    place = locate("s3://shop/marked/")
    entries = [(e.location.name, e.is_folder) for e in place.entries()]
    assert entries == [("bags", True), ("empty.txt", False)]
    assert place.child("empty.txt").read() == b"" and place.child("bags").is_folder()
    (sample,) = [item for item in readers.choose(str(place), Prepare())]
    assert sample.row == "bags/a.jpg"


def test_odd_keys_are_names(s3):
    names = ["a b.jpg", "crème #1?.jpg", "100%25.jpg", "赤.jpg"]
    for name in names:
        put(s3, f"odd/{name}", encoded(photo(0)))
    rows = [item.row for item in readers.choose("s3://shop/odd", Prepare(caption="a thing"))]
    assert sorted(rows) == sorted(names)


def test_the_bucket_itself_may_be_the_catalogue(s3, folder):
    place = locate("s3://shop")
    assert place.is_folder() and place.child("none").kind() is None
    assert folder.rpartition("/")[2] in [entry.location.name for entry in place.entries()]


def test_addresses_of_other_buckets_cost_their_row(s3):
    s3.create_bucket(Bucket="other")
    s3.put_object(Bucket="other", Key="b.jpg", Body=encoded(photo(1)))
    put(s3, "cells/a.jpg", encoded(photo(0)))
    cells = ["s3://shop/cells/a.jpg", "s3a://shop/cells/a.jpg", "s3://other/b.jpg"]
    put(s3, "cells/captions.csv", "\n".join(["image,caption", *(f"{c},thing" for c in cells)]))
    items = list(readers.choose("s3://shop/cells", Prepare()))
    assert [isinstance(item, Rejected) for item in items] == [False, False, True]


def test_nothing_there_is_said(s3):
    for address in ("s3://shop/none", "s3://shop/none.csv"):
        with pytest.raises(UsageError, match=f"There is no catalogue at {address}"):
            readers.choose(address, Prepare())


def test_credentials_go_to_no_text_and_no_process_by_text(s3, monkeypatch, folder):
    monkeypatch.setenv("FSSPEC_S3_SECRET", "s3cr3t")
    place = locate(folder)
    assert "s3cr3t" not in f"{place} {place!r} {place.child('images/0.jpg')!r}"
    assert pickle.loads(pickle.dumps(place.child("images/0.jpg"))).read() == encoded(photo(0))


def test_a_server_that_is_not_there_is_said(monkeypatch, s3):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    try:
        with pytest.raises(EnvironmentProblem, match="s3://shop/x cannot be read: .*connect"):
            locate("s3://shop/x")
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
