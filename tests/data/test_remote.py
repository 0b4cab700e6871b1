"""Catalogues of other places: the same rows, images and receipts as those of a folder."""

import io
import json
import sys
from types import SimpleNamespace

import fsspec
import pyarrow
import pyarrow.parquet
import pytest

from tests.support.catalogue import encoded, photo, put, tar_of
from unidiff_cli import Project, Recipe, prepare
from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data import readers, remote
from unidiff_cli.data.image_addresses import ImageAddresses
from unidiff_cli.data.locations import LocalPath, locate
from unidiff_cli.data.sample import Rejected, Sample
from unidiff_cli.errors import EnvironmentProblem, UsageError, WorkError


@pytest.fixture
def shop(tmp_path):
    """The address of an empty folder in memory."""
    folder = f"{tmp_path}/shop"
    yield f"memory:/{folder}"
    memory = fsspec.filesystem("memory")
    if memory.exists(folder):
        memory.rm(folder, recursive=True)


def write(address: str, data: bytes | str) -> None:
    data = data.encode() if isinstance(data, str) else data
    fsspec.filesystem("memory").pipe(address.removeprefix("memory:/"), data)


def write_photos(address: str, count: int = 24) -> None:
    """A table, and its images in a folder beside it."""
    lines = [f"images/{n}.jpg,thing {n}" for n in range(count)]
    write(f"{address}/captions.csv", "\n".join(["image,caption", *lines]))
    for n in range(count):
        write(f"{address}/images/{n}.jpg", encoded(photo(n)))


def rows_of(address, **options):
    reader = readers.choose(address, Prepare.model_validate(options))
    items = list(reader)
    samples = [item for item in items if isinstance(item, Sample)]
    return samples, [item for item in items if isinstance(item, Rejected)], reader


# ---------------------------------------------------------------- what is read


def test_a_table_of_another_place_is_prepared(tmp_path, shop):
    write_photos(shop)
    receipt = prepare(Project(tmp_path), Recipe(), shop)
    assert receipt.counts["samples"] == 24 and receipt.counts["bad"] == 0
    assert receipt.settings["catalogue"]["path"] == shop
    again = prepare(Project(tmp_path), Recipe(), shop)
    assert again.finished == receipt.finished


def test_it_gives_the_shards_of_the_same_folder(tmp_path, shop):
    write_photos(shop)
    memory, folder = fsspec.filesystem("memory"), shop.removeprefix("memory:/")
    for path in memory.find(folder):
        put(tmp_path / "shop" / path.removeprefix(f"{folder}/"), memory.cat_file(path))
    there = prepare(Project(tmp_path / "there"), Recipe(), shop)
    here = prepare(Project(tmp_path / "here"), Recipe(), tmp_path / "shop")
    assert there.counts == here.counts and there.content == here.content


def test_a_changed_image_is_another_catalogue(tmp_path, shop):
    write_photos(shop)
    before = prepare(Project(tmp_path), Recipe(), shop)
    write(f"{shop}/images/3.jpg", encoded(photo(99)))
    after = prepare(Project(tmp_path), Recipe(), shop)
    digests = [receipt.settings["catalogue"]["digest"] for receipt in (before, after)]
    assert digests[0] != digests[1] and after.content != before.content


def test_folders_with_texts_are_read(shop):
    for n in range(4):
        write(f"{shop}/{'hats' if n % 2 else 'bags'}/{n}.jpg", encoded(photo(n)))
    write(f"{shop}/bags/0.txt", "a bag\n")
    samples, rejected, _ = rows_of(shop)
    assert [(s.row, s.captions) for s in samples] == [
        ("bags/0.jpg", ("a bag",)),
        ("bags/2.jpg", ("a photo of bags",)),
        ("hats/1.jpg", ("a photo of hats",)),
        ("hats/3.jpg", ("a photo of hats",)),
    ]
    assert rejected == []


def test_tars_are_read(tmp_path, shop):
    members = []
    for n in range(4):
        members += [(f"{n}.jpg", encoded(photo(n))), (f"{n}.txt", f"thing {n}".encode())]
    tar_of(tmp_path / "a.tar", members)
    write(f"{shop}/a.tar", (tmp_path / "a.tar").read_bytes())
    samples, rejected, _ = rows_of(shop)
    assert [s.captions for s in samples] == [(f"thing {n}",) for n in range(4)]
    assert rejected == []


def test_parquet_with_images_in_it_is_read(shop):
    images = [{"bytes": encoded(photo(n)), "path": f"{n}.jpg"} for n in range(5)]
    table = pyarrow.table({"image": images, "caption": [f"thing {n}" for n in range(5)]})
    stream = io.BytesIO()
    pyarrow.parquet.write_table(table, stream)
    write(f"{shop}/data.parquet", stream.getvalue())
    samples, rejected, reader = rows_of(shop)
    assert [s.image.read() for s in samples] == [image["bytes"] for image in images]
    assert rejected == [] and reader.extent().rows == 5


# ---------------------------------------------------------------- addresses in cells


def test_addresses_below_the_catalogue_are_its_images(shop):
    write_photos(shop, 3)
    cells = [f"{shop}/images/0.jpg", "images/1.jpg", f"{shop}/images/../images/2.jpg"]
    lines = [f"{cell},thing {n}" for n, cell in enumerate(cells)]
    write(f"{shop}/captions.csv", "\n".join(["image,caption", *lines]))
    samples, rejected, reader = rows_of(shop)
    paths = [s.image.relative_to(reader.root) for s in samples]
    assert paths == ["images/0.jpg", "images/1.jpg", "images/2.jpg"] and rejected == []


@pytest.mark.parametrize(
    "cell",
    [
        "memory://other/images/0.jpg",
        "{shop}/../other/0.jpg",
        "{shop}x/images/0.jpg",
        "s3://bucket/images/0.jpg",
        "simplecache::{shop}/images/0.jpg",
        "file:///etc/hostname",
        "local:///etc/hostname",
    ],
)
def test_addresses_outside_the_catalogue_cost_their_row(shop, cell):
    for address in (f"{shop}/images/0.jpg", "memory://other/images/0.jpg"):
        write(address, encoded(photo(0)))
    cells = ["images/0.jpg", cell.format(shop=shop)]
    lines = [json.dumps({"image": text, "caption": "thing"}) for text in cells]
    write(f"{shop}/captions.jsonl", "\n".join(lines))
    samples, rejected, _ = rows_of(shop)
    assert len(samples) == 1
    assert [r.reason.text for r in rejected] == ["an address that leads out of the catalogue"]


@pytest.mark.parametrize("prefix", ["file://", "file://localhost", "file:", "FILE://"])
def test_file_addresses_inside_a_folder_are_its_images(tmp_path, prefix):
    shop = tmp_path / "my shop"
    put(shop / "a b.jpg", encoded(photo(0)))
    put(tmp_path / "c.jpg", encoded(photo(1)))
    folder = f"{prefix}{tmp_path}"
    cells = [f"{folder}/my%20shop/a%20b.jpg", f"{folder}/c.jpg", f"{folder}/my%20shop/../c.jpg"]
    lines = [json.dumps({"image": cell, "caption": "thing"}) for cell in cells]
    put(shop / "captions.jsonl", "\n".join(lines))
    samples, rejected, reader = rows_of(shop)
    assert [s.image.relative_to(reader.root) for s in samples] == ["a b.jpg"]
    assert len(rejected) == 2 and "leads out of the catalogue" in rejected[0].reason.text


def test_a_file_address_is_a_path(tmp_path):
    put(tmp_path / "my shop" / "a.jpg")
    place = locate(f"file://{tmp_path}/my%20shop")
    assert isinstance(place, LocalPath) and place.path == tmp_path / "my shop"


@pytest.mark.parametrize(
    "address, cell, below",
    [
        ("sftp://me@host/shop", "sftp://me@host/shop/a.jpg", True),
        ("sftp://host/shop", "ssh://host/shop/a.jpg", True),
        ("sftp://host/shop", "sftp://other/shop/a.jpg", False),
        ("sftp://host/shop", "sftp://me:secret@host/shop/a.jpg", True),
        ("sftp://host/shop", "memory://host/shop/a.jpg", False),
        ("sftp://host/shop", "sftp://host/shopping/a.jpg", False),
    ],
)
def test_hosts_of_addresses_are_compared(address, cell, below):
    class Sftp:
        protocol = ("sftp", "ssh")

    place = remote.RemotePath(Sftp(), "/shop", address).below(cell)
    assert (place is not None) == below
    assert not place or (place.path, place.address) == ("/shop/a.jpg", f"{address}/a.jpg")


@pytest.mark.parametrize("images_root", ["{tmp}/media", "file://{tmp}/media"])
def test_images_below_the_media_root_may_be_named_by_their_addresses(tmp_path, images_root):
    put(tmp_path / "media" / "a.jpg")
    named = images_root.format(tmp=tmp_path)
    options = SimpleNamespace(images_root=named, allow_urls=False, follow_links=False)
    addresses = ImageAddresses(locate(str(tmp_path / "shop")), options)
    assert addresses.locate(f"file://{tmp_path}/media/a.jpg").read()
    assert addresses.locate(f"file://{tmp_path}/a.jpg").text.startswith("an address that leads out")


def test_a_media_root_may_lie_in_another_place(tmp_path, shop):
    write_photos(shop, 1)
    options = SimpleNamespace(images_root=shop, allow_urls=False, follow_links=False)
    addresses = ImageAddresses(locate(str(tmp_path)), options)
    assert addresses.locate(f"{shop}/images/0.jpg").read() == encoded(photo(0))


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "address, words",
    [
        ("nosuch://shop", "Protocol not known"),
        ("https://shop.example/feed.csv", "web address"),
        ("simplecache::s3://shop", "wraps another"),
        ("zip://a.csv::memory://shop.zip", "wraps another"),
        ("reference://shop", "wraps another"),
        ("file://nas/shop", "another machine"),
    ],
)
def test_addresses_of_no_place_are_refused(address, words):
    with pytest.raises(UsageError) as caught:
        readers.choose(address, Prepare())
    assert words in caught.value.fact and caught.value.action


@pytest.mark.parametrize(
    "address, module, words",
    [
        ("gs://bucket/shop", "gcsfs", "gcsfs, which is not installed.*'unidiff-cli.gs.'"),
        ("sftp://host/shop", "paramiko", "not installed: .*paramiko.*pip"),
    ],
)
def test_a_missing_package_is_named(monkeypatch, address, module, words):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(EnvironmentProblem, match=words):
        locate(address)


def test_nothing_there_is_said_without_credentials():
    with pytest.raises(UsageError) as caught:
        readers.choose("memory://me:secret@none/shop", Prepare())
    assert caught.value.fact == "There is no catalogue at memory://none/shop."


class Refusing:
    """What stands in a filesystem for a call that its place refuses."""

    def __init__(self, problem: Exception) -> None:
        self.problem = problem

    def __call__(self, *_: object, **__: object) -> None:
        raise self.problem


@pytest.mark.parametrize(
    "problem, words",
    [
        (PermissionError("Forbidden"), "Forbidden"),
        (RuntimeError("NoCredentials: sftp://me:secret@host"), "NoCredentials: sftp://host"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_a_place_that_refuses_says_so_once(monkeypatch, shop, problem, words):
    write_photos(shop, 2)
    memory = fsspec.filesystem("memory")
    monkeypatch.setattr(memory, "info", Refusing(problem))
    with pytest.raises(EnvironmentProblem) as caught:
        locate(shop)
    assert caught.value.fact == f"{shop} cannot be read: {words}."


def test_an_image_that_cannot_be_read_costs_its_row(monkeypatch, tmp_path, shop):
    write_photos(shop)
    memory = fsspec.filesystem("memory")
    whole = memory.cat_file

    def cat_file(path, *args, **kwargs):
        if path.endswith("/3.jpg"):
            raise ConnectionResetError("reset by peer")
        return whole(path, *args, **kwargs)

    monkeypatch.setattr(memory, "cat_file", cat_file)
    receipt = prepare(Project(tmp_path), Recipe(), shop)
    assert receipt.counts["samples"] == 23
    assert receipt.figures["bad_reasons"] == {"cannot be read: reset by peer": 1}


def test_a_table_that_ends_in_the_middle_fails_as_a_whole(monkeypatch, shop):
    write_photos(shop, 2)
    place = locate(f"{shop}/captions.csv")
    monkeypatch.setattr(fsspec.filesystem("memory"), "open", Refusing(OSError("broken pipe")))
    with pytest.raises(WorkError, match="broken pipe"):
        readers.choose(str(place), Prepare())


# ---------------------------------------------------------------- how often a place is asked


def test_each_folder_is_listed_once_and_no_image_is_asked_for(monkeypatch, shop):
    write_photos(shop, 40)
    memory, asked = fsspec.filesystem("memory"), []
    listed, info = memory.ls, memory.info
    monkeypatch.setattr(
        memory, "ls", lambda path, **kw: asked.append(f"ls {path}") or listed(path, **kw)
    )
    monkeypatch.setattr(memory, "info", lambda path: asked.append(path) or info(path))
    reader = readers.choose(shop, Prepare())
    reader.describe(), reader.extent(), list(reader)
    folder = shop.removeprefix("memory:/")
    lists = sorted(call for call in asked if call.startswith("ls"))
    assert lists == [f"ls {folder}", f"ls {folder}/images"]
    assert [call for call in asked if not call.startswith("ls")] == [folder]


def test_a_folder_that_cannot_be_listed_is_read_file_by_file(monkeypatch, shop):
    write_photos(shop, 3)
    memory = fsspec.filesystem("memory")
    monkeypatch.setattr(memory, "ls", Refusing(PermissionError("no listing")))
    samples, rejected, _ = rows_of(f"{shop}/captions.csv")
    assert [s.image.read() for s in samples] == [encoded(photo(n)) for n in range(3)]
    assert rejected == []


def test_a_place_that_grew_since_is_not_read_beyond_its_limit(shop):
    write(f"{shop}/a.jpg", b"1234")
    place = locate(f"{shop}/a.jpg")
    write(f"{shop}/a.jpg", b"x" * 100)
    with pytest.raises(OSError, match="larger than 10 bytes"):
        place.read(10)


def test_a_file_and_a_folder_of_one_name_are_both_there():
    place = remote.RemotePath(fsspec.filesystem("memory"), "/x", "memory://x")
    contents = [("a", remote.Stat("file", 1, "1")), ("a", remote.Stat("folder", 0, ""))]
    place.listings._remember("/x", contents)
    assert [(e.location.name, e.is_folder) for e in place.entries()] == [("a", False), ("a", True)]
    assert place.child("a").is_file()
