"""`unidiff storage`: it names the place, sends what is here, and shows what lies there."""

import json
import shutil

import pytest

from tests.support.cli import on_tiny_base, words
from tests.support.projects import copy_project
from unidiff_cli import Project
from unidiff_cli.data.shards import Shards


@pytest.fixture
def here(tmp_path, finished, tiny_base):
    """A project that went through the whole chain."""
    return on_tiny_base(copy_project(finished, tmp_path / "here"), tiny_base).root


@pytest.fixture
def there(tmp_path):
    """A place that is mounted, in the place of an object store."""
    return str(tmp_path / "place")


def test_what_is_finished_is_sent_once_and_shown(unidiff, here, there):
    code, out, err = unidiff("-C", here, "storage", there)
    assert code == 0 and out.splitlines()[0] == there
    for folder in ("shards", "runs/001-fashion", "exports/001-fashion", "index"):
        assert folder in out and f"{folder} is stored" in err
    again = unidiff("-C", here, "storage")
    assert again[:2] == (0, out)
    # Each command says where it would send what it finishes.
    assert f"storage.json: storage {there}" in words(unidiff("-C", here, "status")[2])


def test_another_machine_fetches_the_tars_where_it_is_asked_to(unidiff, here, there, tmp_path):
    unidiff("-C", here, "storage", there)
    other = tmp_path / "other"

    def shown(*arguments):
        rows = json.loads(unidiff("-C", other, "storage", *arguments, "--json")[1])["folders"]
        return {row["folder"]: row["here"] for row in rows}

    assert set(shown(there).values()) == {"no"}
    assert not Shards.of(Project(other)).has_tars()
    assert shown()["shards"] == "all but its tars"
    assert shown("--fetch", "shards")["shards"] == "yes"
    assert Shards.of(Project(other)).has_tars()


def test_an_object_that_is_gone_is_sent_again(unidiff, here, there, tmp_path):
    unidiff("-C", here, "storage", there)
    [tar, *_] = sorted((tmp_path / "place" / "shards").glob("*.tar"))
    data = tar.read_bytes()
    tar.unlink()
    unidiff("-C", here, "storage")
    assert tar.read_bytes() == data


def test_shards_there_are_listed_and_verified(unidiff, here, there, tmp_path):
    unidiff("-C", here, "storage", there)
    other = tmp_path / "other"
    unidiff("-C", other, "storage", there)
    assert unidiff("-C", other, "shards", "ls")[1] == unidiff("-C", here, "shards", "ls")[1]
    assert unidiff("-C", other, "shards", "verify")[0] == 0
    assert unidiff("-C", other, "verify")[0] == 0
    shutil.rmtree(tmp_path / "place" / "shards")
    code, _, err = unidiff("-C", other, "shards", "verify")
    assert code == 1 and "is missing" in words(err)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 1, "has no storage"),
        (("https://host/bucket",), 2, "is a web address"),
        (("s3://key:secret@host/bucket",), 2, "holds credentials"),
        (("nosuch://bucket",), 2, "nosuch"),
        (("PLACE", "--fetch", "pictures"), 1, "No folder 'pictures' is stored"),
    ],
)
def test_what_cannot_be_is_refused(unidiff, here, there, arguments, code, said):
    arguments = [there if each == "PLACE" else each for each in arguments]
    given, _, err = unidiff("-C", here, "storage", *arguments)
    assert given == code and said in words(err)
