"""A unidiff.yaml that is found is said before it is obeyed: whose it is, and what it sets."""

import os

import pytest

from tests.support.catalogue import jpeg
from tests.support.cli import words
from tests.support.commands import unidiff, workplace  # noqa: F401

PLANTED = """\
schema_version: 2
recipe: joint
base: nano
prepare: {max_bad: 1.0, workers: 1}
evaluate: {probe: /etc, inception: /root/x.pt}
"""


@pytest.fixture
def catalogue(tmp_path):
    folder = tmp_path / "theirs"
    folder.mkdir()
    for name in ("red dress", "blue dress"):
        (folder / f"{name}.jpg").write_bytes(jpeg())
        (folder / f"{name}.txt").write_text(name)
    return folder


def warning(err):
    return next((line for line in err.splitlines() if line.startswith("warning:")), "")


@pytest.mark.parametrize("flags", [(), ("-q",)])
@pytest.mark.parametrize("place", ["", "unidiff-project"])
def test_one_in_the_catalogue_is_warned_of(
    unidiff,  # noqa: F811
    catalogue,
    monkeypatch,
    flags,
    place,
):
    (catalogue / place).mkdir(exist_ok=True)
    (catalogue / place / "unidiff.yaml").write_text(PLANTED)
    monkeypatch.chdir(catalogue)
    _, _, err = unidiff(*flags, "prepare", ".")
    said = words(warning(err))
    assert str(catalogue / place / "unidiff.yaml") in said and "lies in the catalogue" in said
    for key in ("recipe=joint", "base=nano", "prepare.max_bad=1.0", "evaluate.probe=/etc"):
        assert key in said
    assert "-C" in said


def test_one_above_is_noted_and_q_leaves_it_out(
    unidiff,  # noqa: F811
    catalogue,
    monkeypatch,
    tmp_path,
):
    (tmp_path / "unidiff.yaml").write_text(PLANTED)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    _, _, err = unidiff("prepare", catalogue, "--dry-run")
    first = err.splitlines()[0]
    assert first.startswith(f"{tmp_path / 'unidiff.yaml'} sets recipe=joint, base=nano")
    assert not warning(err)
    assert unidiff("-q", "prepare", catalogue, "--dry-run")[2] == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user's file")
@pytest.mark.parametrize("command", [("index",), ("generate", "x"), ("evaluate",), ("train",)])
def test_another_users_is_warned_of_by_every_command(
    unidiff,  # noqa: F811
    workplace,  # noqa: F811
    command,
):
    os.chown("project/unidiff.yaml", 65534, 65534)
    _, _, err = unidiff("-q", "-C", "project", *command)
    assert "of user nobody sets" in warning(err) and "base=" in warning(err)


def test_our_own_starter_in_the_catalogue_is_no_warning(
    unidiff,  # noqa: F811
    catalogue,
    monkeypatch,
):
    monkeypatch.chdir(catalogue)
    options = ("prepare", ".", "--set", "prepare.workers=1")
    for _ in range(2):
        _, _, err = unidiff(*options)
        assert not warning(err)
    assert "unidiff-project/unidiff.yaml sets recipe=fashion" in err


def test_a_long_file_is_said_in_one_line(unidiff, workplace):  # noqa: F811
    keys = {f"k{i}": "x" * 500 for i in range(50)}
    text = "schema_version: 2\nbase: nano\nprepare:\n  where:\n"
    text += "".join(f'    "{key}\\e[2J": {value}\n' for key, value in keys.items())
    (workplace / "project" / "unidiff.yaml").write_text(text)
    _, _, err = unidiff("-C", "project", "prepare", "empty")
    first = err.splitlines()[0]
    assert "43 more" in first and len(first) < 900 and "\x1b" not in err
