"""`unidiff prepare ADDRESS`, and `--allow-urls`: what the terminal takes and says."""

import json
from functools import partial
from pathlib import Path

import fsspec
import pytest

from tests.support.catalogue import encoded, photo, put
from tests.support.web import serving
from unidiff_cli.data import prepare as prepare_module
from unidiff_cli.data.shards import Shards
from unidiff_cli.data.web_client import Client


@pytest.fixture
def server():
    with serving() as each:
        for n in range(24):
            each.answers[f"/{n}.jpg"] = encoded(photo(n))
        yield each


@pytest.fixture
def web_shop(workplace, server):
    """A table whose images all lie on a web server."""
    rows = [{"image": f"{server.address}/{n}.jpg", "caption": f"thing {n}"} for n in range(24)]
    put(Path("shop/captions.jsonl"), "\n".join(map(json.dumps, rows)))
    return "shop"


def in_memory(folder: str) -> str:
    """The address of a catalogue in memory."""
    memory = fsspec.filesystem("memory")
    lines = [f"images/{n}.jpg,thing {n}" for n in range(24)]
    memory.pipe(f"/{folder}/captions.csv", "\n".join(["image,caption", *lines]).encode())
    for n in range(24):
        memory.pipe(f"/{folder}/images/{n}.jpg", encoded(photo(n)))
    return f"memory://{folder}"


def addresses_of(project: str) -> list[str]:
    shards = Shards.open(Path(project, "shards"))
    return sorted(shards.image_address(row) for row in shards.rows())


def test_an_address_is_a_catalogue(unidiff, workplace):
    address = in_memory("cli")
    code, out, err = unidiff("-C", "project", "prepare", address)
    assert code == 0 and "24 samples" in out, err
    assert addresses_of("project") == sorted(f"{address}/images/{n}.jpg" for n in range(24))
    code, _, err = unidiff("-C", "project", "prepare", f"{address}/")
    assert code == 0 and "Nothing to do" in err


def test_a_file_address_is_a_folder(unidiff, workplace):
    for n in range(24):
        put(Path("my shop") / f"thing {n}" / "a.jpg", encoded(photo(n)))
    address = f"file://{Path.cwd()}/my%20shop"
    code, out, err = unidiff("-C", "project", "prepare", address)
    assert code == 0 and "24 samples" in out, err
    assert addresses_of("project")[0] == str(Path.cwd() / "my shop" / "thing 0" / "a.jpg")


def test_credentials_of_an_address_are_shown_and_stored_nowhere(unidiff, workplace):
    address = in_memory("keys").replace("memory://", "memory://me:s3cr3t@")
    fsspec.filesystem("memory").mv("/keys", "/me:s3cr3t@keys", recursive=True)
    code, out, err = unidiff("-C", "project", "prepare", address)
    assert code == 0 and "s3cr3t" not in out + err
    for file in Path("project").rglob("*"):
        assert not file.is_file() or b"s3cr3t" not in file.read_bytes(), file


@pytest.mark.parametrize(
    "address, code, words",
    [
        ("memory://none", 2, "There is no catalogue at memory://none."),
        ("nosuch://me:s3cr3t@shop", 2, "nosuch://shop cannot be read"),
        ("https://shop.example/feed.csv", 2, "--allow-urls"),
        ("zip://a.csv::s3://shop/a.zip", 2, "wraps another address"),
        ("file://nas/shop", 2, "another machine"),
    ],
)
def test_addresses_that_are_not_read_are_refused(unidiff, workplace, address, code, words):
    done, out, err = unidiff("-C", "project", "prepare", address)
    assert done == code and words in err and "s3cr3t" not in out + err
    assert not Path("project/shards").exists()


def test_web_addresses_are_counted_and_the_flag_is_named(unidiff, web_shop, server):
    code, _, err = unidiff("-C", "project", "prepare", web_shop, "--dry-run")
    assert code == 1 and "24 rows name their image by a web address (127.0.0.1" in err
    assert "To download 24 images into the project's cache: --allow-urls" in err
    code, _, err = unidiff("-C", "project", "prepare", web_shop)
    assert code == 1 and "24: a web address: --allow-urls downloads it" in err
    assert not server.connections


def test_with_the_flag_they_are_downloaded_with_a_progress_line(
    unidiff, web_shop, server, monkeypatch
):
    monkeypatch.setattr(prepare_module, "Client", partial(Client, allowed=["127.0.0.1/32"]))
    code, out, err = unidiff("-C", "project", "prepare", web_shop, "--allow-urls")
    assert code == 0 and "24 samples" in out and "downloads: 24 of 24" in err
    assert addresses_of("project") == sorted(f"{server.address}/{n}.jpg" for n in range(24))
    code, _, err = unidiff("-C", "project", "prepare", web_shop, "--allow-urls", "--force")
    assert code == 0 and server.asked.total() == 24 and "downloads" not in err
