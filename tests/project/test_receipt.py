"""Receipts: what their hash sees, what is the same work, and what counts as no receipt."""

import hashlib
import json
from dataclasses import replace

import pytest

from tests.support.folders import finish
from unidiff_cli import Project
from unidiff_cli.errors import Damaged
from unidiff_cli.project.files import digest
from unidiff_cli.project.receipt import RECEIPT, Receipt, close


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path / "project")


@pytest.fixture
def receipt(project):
    """The receipt of a finished folder with something in every field."""
    return finish(
        project,
        "shards",
        inputs={"a": "1"},
        seed=1,
        counts={"n": 1},
        figures={"f": 0.5},
        content="c",
    )


def test_a_receipt_reads_back_as_it_was_written(project, receipt):
    again = Receipt.read(project.path("shards"))
    assert again == receipt and again.hash == receipt.hash and again.finished


def test_the_hash_ignores_files_time_and_versions(receipt):
    later = replace(receipt, files={}, seconds=99.0, finished="2000-01-01", versions={"torch": "0"})
    assert later.hash == receipt.hash


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stage", "x"),
        ("settings", {}),
        ("inputs", {}),
        ("seed", 2),
        ("counts", {}),
        ("figures", {}),
        ("content", "x"),
    ],
)
def test_the_hash_sees_every_other_field(receipt, field, value):
    assert replace(receipt, **{field: value}).hash != receipt.hash


def test_same_work_survives_json_and_sees_settings_and_inputs():
    receipt = Receipt("s", {"a": (1, 2), "b": 0.1}, {"shards": "x"})
    stored = Receipt(**json.loads(json.dumps(vars(receipt))))
    assert stored.same_work({"b": 0.1, "a": [1, 2]}, {"shards": "x"})
    assert not stored.same_work({"b": 0.2, "a": [1, 2]}, {"shards": "x"})
    assert not stored.same_work({"b": 0.1, "a": [1, 2]}, {"shards": "y"})


def test_digest_is_of_the_value():
    assert (
        digest({"a": 1, "b": [1, 2]})
        == digest({"b": (1, 2), "a": 1})
        != digest({"a": 1, "b": [2, 1]})
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "5",
        '{"stage": "x"}',
        '{"stage": "x", "settings": {}, "digest": "0"}',
        "\0",
        "[" * 100_000,
        '{"digest": null}',
    ],
)
def test_a_receipt_that_is_none_is_damaged(project, text):
    finish(project, "shards")
    (project.path("shards") / RECEIPT).write_text(text)
    with pytest.raises(Damaged, match="receipt.json is damaged") as caught:
        project.receipt("shards")
    assert "Move" in caught.value.action


def test_a_receipt_of_other_values_is_damaged(project):
    finish(project, "shards", counts={"images": 10})
    file = project.path("shards") / RECEIPT
    file.write_text(file.read_text().replace('"images": 10', '"images": 11'))
    with pytest.raises(Damaged):
        Receipt.read(project.path("shards"))


def test_a_receipt_lists_every_file_with_its_size_and_hash(project):
    closing = Receipt("s", {1: "a", 10: "b", 2: "c"})
    with project.writing("report", receipt=closing) as fresh:
        (fresh / "a.txt").write_text("abc")
        (fresh / "deep").mkdir()
        (fresh / "deep" / "empty").touch()
    records = Receipt.read(project.path("report")).files
    sizes = {name: record.size for name, record in records.items()}
    assert sizes == {"a.txt": 3, "deep/empty": 0}
    assert records["a.txt"].sha256 == hashlib.sha256(b"abc").hexdigest()


def test_close_writes_the_receipt_with_time(project):
    folder = project.path("shards")
    folder.mkdir(parents=True)
    close(folder, Receipt("s", {}), 1.239)
    receipt = Receipt.read(folder)
    assert receipt.seconds == 1.24 and receipt.finished.startswith("20")
    assert receipt.versions["torch"]
