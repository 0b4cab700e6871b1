"""Replaced files and folders: old or new and whole, whatever kills the writer, and wherever."""

import ast
import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.folders import WHOLE, fill, listing, replace_folder
from unidiff_cli.project import files
from unidiff_cli.project.files import atomic_file, atomic_folder, recover, write_json, write_text

PACKAGE = Path(files.__file__).parent.parent
RENAMES = ("replace", "rename", "renames", "move")


def leftovers(folder):
    return [p.name for p in folder.iterdir() if p.name.startswith(".")]


# ---------------------------------------------------------------- one place


def renames(tree):
    """The calls in a syntax tree that rename: of `os`, of `shutil`, and of a path."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            module = getattr(node.func.value, "id", "")
            name, count = node.func.attr, len(node.args) + len(node.keywords)
            by_module = module in ("os", "shutil") and name in RENAMES
            # A text's `replace` takes two arguments, a path's one.
            if by_module or name == "rename" or (name == "replace" and count == 1):
                yield f"{module}.{name}"


def test_only_one_module_renames():
    modules = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if any(renames(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert modules == {"project/files.py"}


# ---------------------------------------------------------------- files


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path):
    for text in ("old", "new"):
        with atomic_file(tmp_path / "a.bin") as beside:
            assert beside.parent == tmp_path
            beside.write_text(text)
    assert (tmp_path / "a.bin").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


@pytest.mark.parametrize("problem", [OSError, KeyboardInterrupt, SystemExit])
def test_an_error_while_writing_leaves_the_old_file(tmp_path, problem):
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(problem), atomic_file(tmp_path / "a.txt") as beside:
        beside.write_text("ne")
        raise problem
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_disk_that_is_full_when_synced_leaves_the_old_file(tmp_path, monkeypatch):
    write_text(tmp_path / "a.txt", "old")

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_disk_that_is_really_full_leaves_the_old_file(small_disk):
    write_text(small_disk / "a.txt", "old")
    with pytest.raises(OSError, match="No space"):
        write_text(small_disk / "a.txt", "new" * 1_000_000)
    assert (small_disk / "a.txt").read_text() == "old"
    assert [p.name for p in small_disk.iterdir()] == ["a.txt"]


def test_a_text_keeps_its_line_ends(tmp_path):
    write_text(tmp_path / "a.txt", "é\r\nb\n")
    assert (tmp_path / "a.txt").read_bytes() == "é\r\nb\n".encode()


def test_a_json_that_cannot_be_written_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1})

    class Unprintable:
        def __str__(self):
            raise RuntimeError("unprintable")

    with pytest.raises(RuntimeError):
        write_json(tmp_path / "a.json", {"b": Unprintable()})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1}


def write_many(path, letter, barrier):
    barrier.wait()
    for _ in range(50):
        write_text(path, letter * 100_000)


def test_two_processes_may_write_the_same_file(tmp_path):
    path = tmp_path / "cache.txt"
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    writers = [context.Process(target=write_many, args=(path, letter, barrier)) for letter in "ab"]
    for writer in writers:
        writer.start()
    barrier.wait()
    while any(writer.is_alive() for writer in writers):
        text = path.read_text() if path.exists() else ""
        assert text in ("", "a" * 100_000, "b" * 100_000)
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert [p.name for p in tmp_path.iterdir()] == ["cache.txt"]


# ---------------------------------------------------------------- folders


def test_a_folder_is_replaced_whole(tmp_path):
    path = tmp_path / "deep" / "shards"
    replace_folder(path, "old")
    replace_folder(path, "new")
    assert sorted(p.name for p in path.iterdir()) == ["first.txt", WHOLE]
    assert (path / WHOLE).read_text() == "new" and leftovers(path.parent) == []


@pytest.mark.parametrize("problem", [OSError, KeyboardInterrupt, SystemExit])
def test_an_error_while_filling_leaves_the_old_folder(tmp_path, problem):
    replace_folder(tmp_path / "shards", "old")
    with pytest.raises(problem), atomic_folder(tmp_path / "shards", listing) as fresh:
        fill(fresh, "new")
        raise problem
    assert (tmp_path / "shards" / WHOLE).read_text() == "old" and leftovers(tmp_path) == []


def test_a_disk_that_is_really_full_leaves_the_old_folder(small_disk):
    replace_folder(small_disk / "shards", "old")
    with pytest.raises(OSError, match="No space"):
        replace_folder(small_disk / "shards", "new" * 500_000)
    assert (small_disk / "shards" / WHOLE).read_text() == "old" and leftovers(small_disk) == []


def test_every_file_of_a_folder_is_synced_before_it_takes_its_place(tmp_path, monkeypatch):
    events, sync, replace = [], files.sync, os.replace
    monkeypatch.setattr(files, "sync", lambda path: (events.append(path.name), sync(path)))
    monkeypatch.setattr(os, "replace", lambda a, b: (events.append("rename"), replace(a, b)))
    replace_folder(tmp_path / "shards", "new")
    assert set(events[: events.index("rename")]) == {"first.txt", WHOLE, ".shards.new"}
    assert events[-1] == tmp_path.name


@pytest.mark.parametrize("at", [1, 2])
def test_a_signal_at_a_rename_leaves_the_old_folder(tmp_path, monkeypatch, at):
    """Ctrl-C is an exception anywhere, so also after the old folder was put aside."""
    replace_folder(tmp_path / "shards", "old")
    replace, targets = os.replace, []

    def interrupted(source, target):
        targets.append(target)
        if len(targets) == at:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        replace_folder(tmp_path / "shards", "new")
    assert (tmp_path / "shards" / WHOLE).read_text() == "old" and leftovers(tmp_path) == []


def test_a_writer_after_a_kill_between_the_renames_keeps_the_old_folder_until_it_is_done(tmp_path):
    replace_folder(tmp_path / ".shards.old", "old")
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "shards", listing):
        raise RuntimeError
    assert (tmp_path / "shards" / WHOLE).read_text() == "old" and leftovers(tmp_path) == []


def test_recover_takes_the_new_folder_only_where_it_is_whole(tmp_path):
    replace_folder(tmp_path / ".shards.old", "old")
    (tmp_path / ".shards.new").mkdir()
    recover(tmp_path, listing)
    assert (tmp_path / "shards" / WHOLE).read_text() == "old"
    assert not (tmp_path / ".shards.old").exists()


def test_recover_deletes_the_temporary_files_of_killed_writers_alone(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    here = files._machine()
    elsewhere = f".current.01234567.{ended.pid}.new"
    kept = [f".current.{here}.{os.getpid()}.new", elsewhere, ".current.mine.new", "a.new"]
    for name in (*kept, f".current.{here}.{ended.pid}.new"):
        (tmp_path / name).touch()
    recover(tmp_path, listing)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def test_recover_of_a_folder_that_is_not_there(tmp_path):
    recover(tmp_path / "none", listing)
    assert not (tmp_path / "none").exists()


# ---------------------------------------------------------------- kills

KILLED = """
import os, signal, sys
from pathlib import Path
from tests.support.folders import replace_folder
from unidiff_cli.project.files import write_text
path, what, when, at = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
replace, calls = os.replace, []
def kill():
    os.kill(os.getpid(), signal.SIGKILL)
def killing(source, target):
    calls.append(target)
    if when == "before" and len(calls) == at: kill()
    replace(source, target)
    if when == "after" and len(calls) == at: kill()
os.replace = killing
{"file": write_text, "folder": replace_folder}[what](path, "new")
"""


def killed(path, what, when, at):
    """Replaces a file or folder in a process that is killed before or after its rename `at`."""
    arguments = [str(path), what, when, str(at)]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], cwd=PACKAGE.parent)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize(("when", "text"), [("before", "old"), ("after", "new")])
def test_a_kill_around_the_rename_leaves_the_old_or_the_new_file(tmp_path, when, text):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    killed(path, "file", when, 1)
    assert path.read_text() == text
    write_text(path, "next")
    assert path.read_text() == "next"


@pytest.mark.parametrize(
    ("when", "at", "text"),
    [("before", 1, "old"), ("after", 1, "new"), ("before", 2, "new"), ("after", 2, "new")],
)
def test_a_kill_around_each_rename_leaves_the_old_or_the_new_folder(tmp_path, when, at, text):
    path = tmp_path / "shards"
    replace_folder(path, "old")
    killed(path, "folder", when, at)
    recover(tmp_path, listing)
    assert [(path / name).read_text() for name in ("first.txt", WHOLE)] == [text, text]
    replace_folder(path, "next")
    assert (path / WHOLE).read_text() == "next" and leftovers(tmp_path) == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_at_the_first_writing_of_a_folder_leaves_the_new_one(tmp_path, when):
    killed(tmp_path / "shards", "folder", when, 1)
    recover(tmp_path, listing)
    assert (tmp_path / "shards" / WHOLE).read_text() == "new" and leftovers(tmp_path) == []
