"""The command as a whole: help, the project it works on, the two streams, errors, completion."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import UNIDIFF
from unidiff_cli import __version__


def test_no_arguments_print_the_help(unidiff, workplace):
    code, out, err = unidiff()
    assert code == 2 and "Commands:" in out + err


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help(unidiff, workplace, flag):
    code, out, err = unidiff(flag)
    assert code == 0 and "Commands:" in out and err == ""
    assert "  --resume " in unidiff("train", flag)[1]


def test_version(unidiff, workplace):
    assert unidiff("--version") == (0, f"{__version__}\n", "")


def test_the_package_runs_as_a_module():
    command = [sys.executable, "-m", "unidiff_cli.cli", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"{__version__}\n")


# ---------------------------------------------------------------- the project


def test_the_project_is_the_one_that_is_named(unidiff, project, monkeypatch):
    monkeypatch.chdir("/")
    assert unidiff("-C", project.root, "status")[1].splitlines()[0] == str(project.root)


def test_the_project_may_stand_in_the_environment_and_c_wins(
    unidiff, project, tmp_path, monkeypatch
):
    monkeypatch.setenv("UNIDIFF_PROJECT", str(project.root))
    assert json.loads(unidiff("status", "--json")[1])["project"] == str(project.root)
    assert unidiff("-C", tmp_path, "status")[1].splitlines()[0] == str(tmp_path)


def test_the_project_is_a_parent_of_the_current_directory(unidiff, project, monkeypatch):
    monkeypatch.chdir(project.root / "shards")
    assert unidiff("status")[1].splitlines()[0] == str(project.root)


# ---------------------------------------------------------------- the two streams


def test_quiet_leaves_the_result_and_nothing_else(unidiff, workplace, catalogue):
    code, out, err = unidiff("-q", "-C", "project", "prepare", catalogue)
    assert code == 0 and "samples" in out and err == ""


def test_progress_and_notes_go_to_standard_error(unidiff, workplace, catalogue):
    code, out, err = unidiff("-C", "project", "prepare", catalogue)
    assert code == 0 and "images: 60 of 60" in err and "images: 60" not in out
    assert "recipe fashion" in err and "Next: unidiff train" in err


def test_a_reader_that_leaves_early_is_no_error(exported):
    """`unidiff recipes schema | head -1`."""
    code = f"{UNIDIFF} recipes schema | head -c 1; {UNIDIFF} recipes list | head -c 1"
    done = subprocess.run(["bash", "-c", code], capture_output=True, timeout=60)
    assert done.stdout[:1] == b"{" and done.stderr == b""


# ---------------------------------------------------------------- errors


def test_debug_shows_the_traceback_and_keeps_the_exit_code(unidiff, workplace):
    code, _, err = unidiff("--debug", "-C", "project", "generate", "dress")
    assert code == 1 and "Traceback" in err and "NotReady" in err and "Run: unidiff train" in err


def test_a_project_that_cannot_be_written_is_a_fault_of_the_environment(
    unidiff, workplace, tiny_base, catalogue
):
    code, _, err = unidiff("-C", "note.txt", "prepare", catalogue, "--set", f"base={tiny_base}")
    assert code == 3 and "note.txt" in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("problem", "code", "text"),
    [
        (PermissionError(13, "Permission denied", "/x"), 3, "/x: Permission denied."),
        (OSError(28, "No space left on device", "/x"), 3, "The disk is full. /x"),
    ],
    ids=["permission", "disk"],
)
def test_an_error_of_the_system_is_a_sentence(unidiff, workplace, monkeypatch, problem, code, text):
    def refuse(*_):
        raise problem

    monkeypatch.setattr("unidiff_cli.project.status.folders", refuse)
    ended, _, err = unidiff("status")
    assert ended == code and text in err and "Traceback" not in err


# ---------------------------------------------------------------- completion


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("unidiff recipes show fashion-8", ["fashion-80gb", "fashion-8gb"]),
        ("unidiff train --recipe sd", ["sd-only"]),
        ("unidiff generate dress --export 0", ["001-fashion"]),
        ("unidiff export 0", ["001-fashion"]),
        ("unidiff export --format diff", ["diffusers"]),
        ("unidiff re", ["retrieve", "recipes"]),
    ],
)
def test_completion_offers_recipes_runs_exports_and_formats(exported, typed, offered):
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    done = subprocess.run(
        [UNIDIFF],
        env={**os.environ, "_UNIDIFF_COMPLETE": "complete_bash", **words},
        cwd=exported.root,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert sorted(done.stdout.split()) == sorted(offered) and done.stderr == ""


# ---------------------------------------------------------------- doctor


@pytest.mark.parametrize("embedded", [True, False])
def test_doctor_ends_with_3_where_something_is_missing(unidiff, workplace, monkeypatch, embedded):
    bases = {"nano": Path("x")} if embedded else {}
    monkeypatch.setattr("unidiff_cli.models.sources.embedded_bases", lambda: bases)
    code, out, err = unidiff("-C", "project", "doctor", "--json")
    facts = json.loads(out)
    assert code == (0 if embedded else 3) and err == ""
    assert {"versions", "device", "memory", "disk", "offline", "problems"} == set(facts)
    assert bool(facts["problems"]) is not embedded
    out = unidiff("-C", "project", "doctor")[1]
    assert "torch" in out and ("No embedded base" in out) is not embedded
