"""The project directory: where it is found, what its receipts say, and that a room is whole or not there."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from unidiff_cli import Project
from unidiff_cli.errors import EnvironmentProblem, NotReady, UsageError, WorkError
from unidiff_cli.project import project as project_module
from unidiff_cli.project.files import digest, write_json
from unidiff_cli.project.project import FILE
from unidiff_cli.project.receipt import Receipt, close


@pytest.fixture
def project(tmp_path):
    found = Project(tmp_path / "here")
    found.create()
    return found


def finish(project, *room, text="old", **receipt):
    """A finished room with one file in it."""
    made = Receipt("stage", {"made": text}, **receipt)
    with project.writing(*room, receipt=made) as fresh:
        (fresh / "file.txt").write_text(text)
    return made


def listing(project):
    return sorted(str(p.relative_to(project.root)) for p in project.root.rglob("*"))


# ---------------------------------------------------------------- found where


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
    (deep / FILE).mkdir()  # a folder of that name is no project file
    assert Project.find(start=deep).root == tmp_path / "a"


def test_nothing_is_made_by_looking(tmp_path):
    found = Project.find(start=tmp_path)
    assert found.runs() == found.exports() == [] and found.next_run("fashion") == "001-fashion"
    with pytest.raises(NotReady, match="Run: unidiff train"):
        found.export()
    with pytest.raises(NotReady, match="shards is not there"):
        found.receipt("shards", command="unidiff prepare CATALOG")
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
    import filelock

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied", str(project.root / ".lock"))

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with pytest.raises(EnvironmentProblem, match="Permission denied"), project.lock():
        pass


# ---------------------------------------------------------------- receipts


def test_a_receipts_hash_ignores_time_and_versions_and_nothing_else(project):
    made = finish(
        project,
        "shards",
        inputs={"a": "1"},
        seed=1,
        counts={"n": 1},
        figures={"f": 0.5},
        files={"x": "y"},
    )
    again = Receipt.read(project.path("shards"))
    assert again == made and again.hash == made.hash and again.finished
    again.seconds, again.finished, again.versions = 99.0, "2000-01-01", {"torch": "0"}
    assert again.hash == made.hash
    for name, other in {
        "stage": "x", "settings": {}, "inputs": {}, "seed": 2, "counts": {}, "figures": {}, "files": {},
    }.items():  # fmt: skip
        assert Receipt(**{**vars(made), name: other}).hash != made.hash, name


def test_same_work_survives_json_and_sees_settings_and_inputs():
    made = Receipt("s", {"a": (1, 2), "b": 0.1}, {"shards": "x"})
    stored = Receipt(**json.loads(json.dumps(vars(made))))
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
    ["", "null", "[]", "5", '{"stage": "x"}', '{"stage": "x", "settings": {}, "new": 1}', "\0"],
)
def test_a_receipt_that_is_none_means_unfinished(project, text):
    finish(project, "shards")
    (project.path("shards") / "receipt.json").write_text(text)
    assert Receipt.read(project.path("shards")) is None
    with pytest.raises(NotReady) as caught:
        project.receipt("shards", command="unidiff prepare CATALOG")
    assert (
        "is unfinished" in caught.value.fact
        and caught.value.action == "Run: unidiff prepare CATALOG"
    )


def test_write_json_leaves_the_old_file_when_it_fails(tmp_path):
    file = tmp_path / "a.json"
    write_json(file, {"a": 1})

    class Sour:
        def __str__(self):
            raise RuntimeError("sour")

    with pytest.raises(RuntimeError):
        write_json(file, {"b": Sour()})
    assert json.loads(file.read_text()) == {"a": 1}


# ---------------------------------------------------------------- writing a room


def test_writing_replaces_a_room_whole(project):
    finish(project, "shards", text="old")
    (project.path("shards") / "extra").touch()
    finish(project, "shards", text="new")
    assert sorted(p.name for p in project.path("shards").iterdir()) == ["file.txt", "receipt.json"]
    assert (project.path("shards") / "file.txt").read_text() == "new"
    assert not [name for name in listing(project) if name.endswith((".new", ".old"))]


@pytest.mark.parametrize("problem", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_failure_inside_leaves_the_old_room_whole(project, problem):
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


@pytest.mark.parametrize("at", [1, 2])
def test_a_signal_between_the_renames_leaves_the_old_room_whole(project, monkeypatch, at):
    """Ctrl-C is an exception anywhere, so also after the old room was put aside."""
    finish(project, "shards", text="old")
    real, calls = os.replace, []

    def replace(source, target):
        if str(target).endswith((".old", "shards")):
            calls.append(target)
            if len(calls) == at:
                raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(project_module.os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        finish(project, "shards", text="new")
    assert (project.path("shards") / "file.txt").read_text() == "old"
    assert Receipt.read(project.path("shards")).settings == {"made": "old"}


KILLED = """
import os, signal, sys
from unidiff_cli import project as projects
from unidiff_cli.project import Project, Receipt
real, seen = os.replace, []
def replace(source, target):
    if str(source).endswith(".new") and os.path.isdir(source) or str(target).endswith(".old"):
        seen.append(target)
        if len(seen) == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
    real(source, target)
projects.os.replace = replace
project = Project(sys.argv[1])
with project.lock(), project.writing(*sys.argv[3].split("/"), receipt=Receipt("stage", {"made": "new"})) as fresh:
    (fresh / "file.txt").write_text("new")
"""


@pytest.mark.parametrize(
    ("room", "at", "then"), [("shards", 1, "old"), ("shards", 2, "new"), ("exports/001", 2, "new")]
)
def test_a_kill_at_the_renames_is_finished_at_the_next_lock(project, room, at, then):
    finish(project, *room.split("/"), text="old")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(project.root), str(at), room], timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    with project.lock():
        pass
    assert (project.path(room) / "file.txt").read_text() == then
    assert project.receipt(*room.split("/")).settings == {"made": then}
    assert not [name for name in listing(project) if name.endswith(".old")]


def test_an_old_room_comes_back_when_what_was_to_replace_it_is_not_whole(project):
    finish(project, "shards", text="old")
    os.replace(project.path("shards"), project.path(".shards.old"))
    project.path(".shards.new").mkdir()
    with project.lock():
        pass
    assert project.receipt("shards").settings == {"made": "old"}


# ---------------------------------------------------------------- the lock

HOLDS = """
import sys, time
from unidiff_cli.project import Project
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
    with project.lock():  # a holder that was killed holds nothing
        assert (project.root / ".lock.pid").read_text() == str(os.getpid())
    assert not (project.root / ".lock.pid").exists()


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


def test_close_writes_the_receipt_with_time(project):
    project.path("x").mkdir()
    close(project.path("x"), Receipt("s", {}), 1.239)
    found = Receipt.read(project.path("x"))
    assert found.seconds == 1.24 and found.finished.startswith("20") and found.versions["torch"]


# ---------------------------------------------------------------- status


def test_status_follows_the_work(project):
    from unidiff_cli.project.status import folders, next_command

    def now():
        found = folders(project)
        return {row["room"]: row["state"] for row in found}, next_command(found)

    assert now() == (
        dict.fromkeys(("shards", "runs", "exports", "index", "report"), "missing"),
        "unidiff prepare CATALOG",
    )
    shards = finish(project, "shards", counts={"train": 10})
    assert now()[1] == "unidiff train"
    (project.path("runs", "001-a") / "checkpoints" / "step-000500").mkdir(parents=True)
    states, then = now()
    assert states["runs/001-a"] == "unfinished" and then == "unidiff train --resume"
    assert folders(project)[1]["holds"] == "last checkpoint step-000500"
    run = finish(project, "runs", "001-a", inputs={"shards": shards.hash})
    assert now()[1] == "unidiff export"
    export = finish(project, "exports", "001-a", inputs={"runs/001-a": run.hash})
    project.path("exports", "current").write_text("001-a\n")
    assert now()[1] == "unidiff index"
    bound = {"shards": shards.hash, "exports/001-a": export.hash}
    for room in ("index", "report"):
        made = Receipt(room, {"export": "001-a"}, bound)
        with project.writing(room, receipt=made):
            pass
    states, then = now()
    assert set(states.values()) == {"ready"} and then.startswith("unidiff generate")

    second = finish(project, "runs", "002-b", inputs={"shards": shards.hash})
    assert now()[1] == "unidiff export"  # the newest run has none yet
    finish(project, "exports", "002-b", inputs={"runs/002-b": second.hash})
    project.path("exports", "current").write_text("002-b\n")
    states, then = now()
    assert states["index"] == states["report"] == "stale" and then == "unidiff index"
    assert "002-b is the current export" in next(
        r["holds"] for r in folders(project) if r["room"] == "index"
    )

    finish(project, "shards", text="other")
    states, then = now()
    assert states["runs/002-b"] == states["index"] == "stale" and then == "unidiff train"


# ---------------------------------------------------------------- log.jsonl


def test_the_log_is_cut_to_a_step_and_survives_a_crash(tmp_path):
    from unidiff_cli.project import run_log

    assert run_log.read(tmp_path) == []
    for step in range(1, 6):
        run_log.append(tmp_path, step=step, loss=1 / 3)
    with open(tmp_path / run_log.FILE, "ab") as stream:
        stream.write(b'5\n{"step": 6, "lo\xff')
    assert [line["step"] for line in run_log.read(tmp_path)] == [1, 2, 3, 4, 5]
    run_log.trim(tmp_path, 3)
    run_log.append(tmp_path, step=4, loss=0.25)
    assert [(line["step"], line["loss"]) for line in run_log.read(tmp_path)][2:] == [
        (3, 0.3333333),
        (4, 0.25),
    ]
    assert sorted(p.name for p in tmp_path.iterdir()) == [run_log.FILE]
