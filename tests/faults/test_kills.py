"""Kill −9 at every file that a stage opens, syncs, renames, makes or deletes.

After each kill the folder is the old one or the new one, whole; the next run gives the very bytes
of an undisturbed one, and leaves nothing beside them.
"""

import os
import signal
import sys

import pytest

from tests.support.projects import copy_project, load_recipe
from unidiff_cli import evaluate, export, index, prepare, train
from unidiff_cli.project.files import files_below
from unidiff_cli.project.receipt import Receipt
from unidiff_cli.project.verify import verify

EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "shutil.rmtree")
RUN = "001-fashion"
# Stage -> a call of it, and the folder that it writes.
STAGES = {
    "prepare": (lambda p, r, c: prepare(p, r, c, force=True), ("shards",)),
    "checkpoint": (lambda p, r, c: train(p, r, resume=True), ("runs", RUN)),
    "export": (lambda p, r, c: export(p, force=True), ("exports", RUN)),
    "index": (lambda p, r, c: index(p, force=True), ("index",)),
    "evaluate": (lambda p, r, c: evaluate(p, r, force=True), ("report",)),
}


class Killer:
    """Kills this process before its n-th event below a folder; counts them."""

    def __init__(self, root, at=0):
        self.root, self.at, self.count = str(root), at, 0
        fsync = os.fsync

        def syncing(handle):
            self.happen(os.readlink(f"/proc/self/fd/{handle}"))
            fsync(handle)

        os.fsync = syncing
        sys.addaudithook(self.hear)

    def hear(self, event, arguments):
        writes = event != "open" or (isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE)
        if event in EVENTS and writes and isinstance(arguments[0], str | os.PathLike):
            self.happen(os.fspath(arguments[0]))

    def happen(self, path):
        if path.startswith(self.root) and ".unidiff.lock" not in path:
            self.count += 1
            if self.count == self.at:
                os.kill(os.getpid(), signal.SIGKILL)


def in_a_child(project, call, at):
    """The events of a call in a fork, or None where it was killed at one of them."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            killer = Killer(project.root, at)
            call()
            os.write(writing, str(killer.count).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as stream:
        count = stream.read()
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return None
    assert os.waitstatus_to_exitcode(status) == 0
    return int(count)


def made(project, names):
    """Name -> hash of every file of a folder whose bytes do not tell when it was made."""
    timed = ("report.html", "report.json", "report.md", "log.jsonl")
    return {
        name: record.sha256
        for name, record in Receipt.read(project.path(*names)).files.items()
        if name not in timed and "events.out" not in name
    }


def leftovers(project):
    endings = (".new", ".old", ".unfinished")
    return [p for p in files_below(project.root) if any(e in p.as_posix() for e in endings)]


@pytest.fixture(scope="module")
def small(tiny_base):
    return load_recipe(tiny_base, "evaluate.metrics=[recall]", "train.checkpoint_every=1")


@pytest.fixture(scope="module")
def measured(finished, small, tmp_path_factory):
    project = copy_project(finished, tmp_path_factory.mktemp("kills"))
    evaluate(project, small)
    return project


def begin(stage, project):
    """Takes the project to where the stage has its work before it."""
    if stage == "checkpoint":
        # The last step is to be done again, with its checkpoint and the run's receipt.
        from unidiff_cli.project import checkpoints

        run = project.path("runs", RUN)
        (run / "receipt.json").unlink()
        checkpoints.delete_folder(
            checkpoints.committed(run / "checkpoints")[-1], checkpoints.listing
        )


@pytest.mark.parametrize(
    ("stage", "every"),
    [("index", 9), *(pytest.param(name, 1, marks=pytest.mark.slow) for name in STAGES)],
)
def test_a_kill_anywhere_leaves_the_old_folder_or_the_new_one(
    measured, tmp_path, small, catalogue, stage, every
):
    stage_call, names = STAGES[stage]

    def fresh(number):
        project = copy_project(measured, tmp_path / str(number))
        begin(stage, project)
        return project, lambda: stage_call(project, small, catalogue)

    (tmp_path / "0").mkdir()
    project, call = fresh(0)
    events = in_a_child(project, call, 0)
    expected = made(project, names)
    assert events > 10
    for at in range(1, events + 1, every):
        (tmp_path / str(at)).mkdir()
        project, call = fresh(at)
        if in_a_child(project, call, at) is not None:
            # A name with this process's number, or fewer events than before.
            continue
        damage = [sentence for result in verify(project) for sentence in result.damage]
        assert damage == [], f"{stage} killed at event {at}"
        assert in_a_child(project, call, 0) is not None
        assert made(project, names) == expected, f"{stage} killed at event {at}"
        assert leftovers(project) == [], f"{stage} killed at event {at}"
