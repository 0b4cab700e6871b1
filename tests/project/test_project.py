"""The project directory: where it is, its folders and their commands, the lock, the exports."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.folders import finish
from unidiff_cli import Project
from unidiff_cli.errors import EnvironmentProblem, NotReady, UsageError, WorkError
from unidiff_cli.project import project as project_module
from unidiff_cli.project.folders import FOLDERS
from unidiff_cli.project.project import FILE, LOCK, is_project
from unidiff_cli.project.receipt import Receipt

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path):
    project = Project(tmp_path / "here")
    project.create()
    return project


def listing(project):
    return sorted(str(p.relative_to(project.root)) for p in project.root.rglob("*"))


# ---------------------------------------------------------------- where it is


def test_a_name_wins_and_is_not_looked_for(tmp_path):
    assert Project.find(tmp_path / "named").root == tmp_path / "named"
    assert Project.find("~/x").root.is_absolute() and "~" not in str(Project.find("~/x").root)


def test_the_nearest_parent_with_a_unidiff_yaml_else_one_below(tmp_path):
    deep = tmp_path / "a" / "b" / "c"
    deep.mkdir(parents=True)
    assert Project.find(start=deep).root == deep / project_module.DEFAULT
    (tmp_path / FILE).touch()
    assert Project.find(start=deep).root == tmp_path
    (tmp_path / "a" / FILE).touch()
    assert Project.find(start=deep).root == tmp_path / "a"
    # A folder of that name is no project file.
    (deep / FILE).mkdir()
    assert Project.find(start=deep).root == tmp_path / "a"


def test_nothing_is_made_by_looking(tmp_path):
    project = Project.find(start=tmp_path)
    assert project.runs() == project.exports() == []
    assert project.next_run("fashion") == "001-fashion"
    with pytest.raises(NotReady, match="Run: unidiff train"):
        project.export()
    with pytest.raises(NotReady, match="shards is not there"):
        project.receipt("shards")
    assert list(tmp_path.iterdir()) == []


def test_create_leaves_what_is_the_persons(project):
    project.file.write_text("recipe: mine\n")
    (project.root / ".gitignore").write_text("")
    project.create()
    assert (
        project.file.read_text() == "recipe: mine\n"
        and (project.root / ".gitignore").read_text() == ""
    )


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_project_that_cannot_be_is_a_sentence(tmp_path, name):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(EnvironmentProblem, match="cannot be written: .* -C"),
        Project(tmp_path / name).lock(),
    ):
        pass
    assert (tmp_path / "file").read_text() == ""


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_directory_is_a_sentence(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(EnvironmentProblem, match="Permission denied"), Project(tmp_path).lock():
            pass
    finally:
        tmp_path.chmod(0o700)


def test_a_disk_that_refuses_the_lock_is_a_sentence(project, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied", str(project.root / LOCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(EnvironmentProblem, match="Permission denied"), project.lock():
        pass


# ---------------------------------------------------------------- its folders


@pytest.mark.parametrize("name", FOLDERS)
def test_a_missing_folder_names_the_command_that_writes_it(project, name):
    with pytest.raises(NotReady, match=f"here/{name} is not there") as caught:
        project.receipt(name)
    assert caught.value.action == f"Run: {FOLDERS[name].command}"


def test_an_unfinished_run_names_the_command_that_finishes_it(project):
    project.path("runs", "001-a").mkdir(parents=True)
    with pytest.raises(NotReady, match="here/runs/001-a is unfinished") as caught:
        project.receipt("runs", "001-a")
    assert caught.value.action == "Run: unidiff train --resume"


def test_git_ignores_every_folder_and_keeps_the_persons_file(project):
    lines = (project.root / ".gitignore").read_text().splitlines()
    assert {f"/{name}" for name in FOLDERS} <= set(lines) and f"/{FILE}" not in lines


@pytest.mark.parametrize("name", FOLDERS)
def test_the_guide_of_a_project_names_every_folder_and_its_command(name):
    text = (ROOT / "docs" / "guides" / "project.md").read_text(encoding="utf-8")
    command = FOLDERS[name].command.removeprefix("unidiff ").split()[0]
    assert f"{name}/" in text and command in text


def test_a_folder_with_a_unidiff_yaml_is_a_project(project, tmp_path):
    assert is_project(project.root) and not is_project(tmp_path)


# ---------------------------------------------------------------- writing a folder


def test_writing_replaces_a_folder_whole(project):
    finish(project, "shards", text="old")
    finish(project, "shards", text="new")
    assert sorted(p.name for p in project.path("shards").iterdir()) == ["file.txt", "receipt.json"]
    assert (project.path("shards") / "file.txt").read_text() == "new"
    assert not [name for name in listing(project) if name.endswith((".new", ".old"))]


@pytest.mark.parametrize("problem", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_failure_inside_leaves_the_old_folder_whole(project, problem):
    finish(project, "exports", "001", text="old")
    before = listing(project)
    with (
        pytest.raises(problem),
        project.writing("exports", "001", receipt=Receipt("s", {})) as fresh,
    ):
        (fresh / "file.txt").write_text("half")
        raise problem
    assert listing(project) == before
    assert (project.path("exports", "001") / "file.txt").read_text() == "old"


KILLED = """
import sys
from tests.support.folders import finish
from tests.support.kills import kill_at_rename
from unidiff_cli import Project
kill_at_rename(int(sys.argv[2]))
project = Project(sys.argv[1])
with project.lock():
    finish(project, *sys.argv[3].split("/"), text="new")
"""


@pytest.mark.parametrize(
    ("folder", "at", "text"),
    [
        ("shards", 1, "old"),
        ("shards", 2, "new"),
        ("exports/001", 2, "new"),
        ("exports/onnx/001", 2, "new"),
    ],
)
def test_a_kill_at_the_renames_is_finished_at_the_next_lock(project, folder, at, text):
    finish(project, *folder.split("/"), text="old")
    command = [sys.executable, "-c", KILLED, str(project.root), str(at), folder]
    assert subprocess.run(command, cwd=ROOT, timeout=60).returncode == -signal.SIGKILL
    with project.lock():
        pass
    assert (project.path(folder) / "file.txt").read_text() == text
    assert project.receipt(*folder.split("/")).settings == {"text": text}
    assert not [name for name in listing(project) if name.endswith(".old")]


# ---------------------------------------------------------------- the lock

HOLDS = """
import sys, time
from unidiff_cli import Project
with Project(sys.argv[1]).lock():
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_lock_refuses_a_second_process_and_names_the_first(project):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(project.root)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(WorkError, match=f"process {holder.pid}") as caught, project.lock():
            pass
        assert caught.value.exit_code == 1 and "-C" in caught.value.action
    finally:
        holder.kill()
        holder.wait()
    # A holder that was killed holds nothing.
    with project.lock():
        assert (project.root / LOCK).read_text() == str(os.getpid())
    assert (project.root / LOCK).read_text() == ""


def test_the_lock_is_free_after_a_failure(project):
    with pytest.raises(RuntimeError), project.lock():
        raise RuntimeError
    started = time.monotonic()
    with project.lock():
        pass
    assert time.monotonic() - started < 5


# ---------------------------------------------------------------- runs and exports


def test_runs_are_numbered_on(project):
    for name in ("001-fashion", "007-joint", "009x", "notes", "²-odd", ".hidden"):
        project.path("runs", name).mkdir(parents=True)
    assert project.next_run("sd-only") == "008-sd-only"
    assert ".hidden" not in project.runs()


def test_the_current_export_is_the_one_pointed_to(project):
    for name in ("001-fashion", "002-joint"):
        finish(project, "exports", name)
    project.path("exports", "003-half").mkdir()
    assert project.exports() == ["001-fashion", "002-joint"]
    pointer = project.path("exports", "current")
    pointer.write_text("001-fashion\n")
    assert (
        project.export().name == "001-fashion" and project.export("002-joint").name == "002-joint"
    )
    with pytest.raises(UsageError) as caught:
        project.export("001-fashon")
    assert "Did you mean '001-fashion'?" in caught.value.fact and "002-joint" in caught.value.action
    for name in ("003-half", "../exports/001-fashion", ".."):
        with pytest.raises(UsageError):
            project.export(name)
    pointer.write_text("gone\n")
    with pytest.raises(UsageError, match="no finished export 'gone'"):
        project.export()
    pointer.write_text("")
    with pytest.raises(NotReady):
        project.export()
