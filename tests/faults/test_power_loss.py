"""After a power loss every stage is whole, or missing and said so; a synced checkpoint resumes.

The loss is simulated: what no fsync brought to the disk is taken away. A disk commits names every
few seconds and contents up to half a minute later, so there are two losses: soon after a stage new
names are gone, later the names are there and the contents are not.
"""

import os
import shutil
from pathlib import Path

import pytest

from tests.support.projects import copy_project, load_recipe
from unidiff_cli import Project, evaluate, export, generate, index, prepare, train
from unidiff_cli.errors import Interrupted, NotReady
from unidiff_cli.generation.record import read_record
from unidiff_cli.project import checkpoints, run_log
from unidiff_cli.project.receipt import Receipt
from unidiff_cli.project.verify import verify
from unidiff_cli.training import trainer

SOON, LATER = "names are lost", "contents are lost"


class Disk:
    """What the disk holds for sure: contents of files, and names in folders, as last synced."""

    def __init__(self, monkeypatch):
        # By inode: when the contents of a file last changed, and the names of a folder.
        self.contents: dict[int, int] = {}
        self.names: dict[int, set[tuple[str, int]]] = {}
        fsync = os.fsync

        def recording(handle):
            fsync(handle)
            self._record(Path(f"/proc/self/fd/{handle}"))

        monkeypatch.setattr(os, "fsync", recording)

    def _record(self, path):
        status = path.stat()
        self.contents[status.st_ino] = status.st_mtime_ns
        if path.is_dir():
            self.names[status.st_ino] = {(e.name, e.inode()) for e in os.scandir(path)}

    def hold(self, root):
        """Takes all that is below a folder now for synced."""
        for path in [root, *root.rglob("*")]:
            self._record(path)

    def lose(self, root, when):
        """Takes away what a power loss would, and gives the paths."""
        lost = []
        for path in sorted(root.rglob("*"), reverse=True):
            status, above = path.lstat(), path.parent.stat().st_ino
            if path.name.startswith(".unidiff.lock"):
                continue
            if when == SOON and (path.name, status.st_ino) not in self.names.get(above, ()):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            elif path.is_file() and self.contents.get(status.st_ino) != status.st_mtime_ns:
                os.truncate(path, 0)
            else:
                continue
            lost.append(path.relative_to(root).as_posix())
        return lost


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


@pytest.fixture(scope="module")
def small(tiny_base):
    return load_recipe(tiny_base, "evaluate.metrics=[recall]", "train.checkpoint_every=1")


STAGES = {
    "prepare": lambda p, recipe, catalogue: prepare(p, recipe, catalogue, force=True),
    "train": lambda p, recipe, catalogue: train(p, recipe, force=True),
    "export": lambda p, recipe, catalogue: export(p, alpha=0.5),
    "index": lambda p, recipe, catalogue: index(p, force=True),
    "evaluate": lambda p, recipe, catalogue: evaluate(p, recipe),
    "generate": lambda p, recipe, catalogue: generate(p, ["red dress"], count=1),
}


@pytest.mark.parametrize("when", [SOON, LATER])
@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_finished_is_whole_after_a_power_loss(
    disk, finished, tmp_path, small, catalogue, stage, when
):
    project = copy_project(finished, tmp_path)
    disk.hold(project.root)
    STAGES[stage](project, small, catalogue)
    finished_now = {result.folder for result in verify(project)}
    lost = disk.lose(project.root, when)
    results = verify(project)
    assert {result.folder for result in results} == finished_now
    assert [sentence for result in results for sentence in result.damage] == [], lost
    for file in project.path("outputs").glob("*/[0-9]*.png"):
        assert read_record(file).prompt == "red dress"


def test_the_simulation_loses_what_is_not_synced(disk, tmp_path):
    (tmp_path / "a").mkdir()
    disk.hold(tmp_path)
    (tmp_path / "a" / "file").write_text("text")
    (tmp_path / "a" / "more").mkdir()
    assert disk.lose(tmp_path, LATER) == ["a/file"]
    assert (tmp_path / "a" / "file").read_text() == ""
    assert disk.lose(tmp_path, SOON) == ["a/more", "a/file"]
    assert not list((tmp_path / "a").iterdir())


@pytest.mark.parametrize("when", [SOON, LATER])
@pytest.mark.parametrize("step", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 3))])
def test_a_synced_checkpoint_resumes(
    disk, finished, prepared, tmp_path, recipe, monkeypatch, step, when
):
    """The power goes right after a step: the run goes on from its checkpoint, or begins again."""
    project = copy_project(prepared, tmp_path)
    options = load_recipe(recipe.base, "train.checkpoint_every=1")
    disk.hold(project.root)
    steps = trainer.Trainer.steps

    def failing(self, batches):
        for each in steps(self, batches):
            yield each
            if each.number == step:
                raise Interrupted(15, "the power went")

    with monkeypatch.context() as patched:
        patched.setattr(trainer.Trainer, "steps", failing)
        with pytest.raises(Interrupted):
            train(project, options)
    disk.lose(project.root, when)
    run = project.path("runs", "001-fashion")
    saved = [int(p.name[-6:]) for p in checkpoints.committed(run / "checkpoints")]
    assert saved[-1] >= step - 1 or step == 1
    name, _ = train(project, options, resume=True)
    assert name == "001-fashion"
    lines = [line["step"] for line in run_log.read(run) if "loss" in line]
    assert lines == list(range(1, options.train.steps + 1))
    whole = Receipt.read(run)
    assert whole.counts["steps"] == options.train.steps


def test_a_project_that_lost_everything_says_so(tmp_path):
    project = Project(tmp_path / "project")
    project.create()
    project.path("shards").mkdir()
    with pytest.raises(NotReady, match="shards is unfinished"):
        project.receipt("shards")
