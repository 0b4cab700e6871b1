"""Kill −9 at random moments of what goes on where it was: prepare, a training, and the index.

A killed command is started again until one ends. Then all files, and the losses of a training, are
those of an undisturbed one.
What a kill costs is tested beside each: `tests/data/test_incremental.py`,
`tests/retrieval/test_blocks.py`.
"""

import os
import random
import shutil
import signal
import sys
import time

import pytest

from tests.support.catalogue import write_photos
from tests.support.cli import on_tiny_base
from tests.support.exports import write_export
from tests.support.folders import made
from tests.support.processes import ended, handles_signals, settings, unidiff, wait_until
from tests.support.projects import copy_project, load_recipe
from tests.support.runs import outcome
from unidiff_cli import Project, prepare
from unidiff_cli.data.kept_images import PACK_IMAGES
from unidiff_cli.retrieval.blocks import BLOCK
from unidiff_cli.training import provenance

IMAGES = 2 * max(PACK_IMAGES, BLOCK) + 300
DATED = ("receipt.json", "report.html")
# What the training is: five checkpoints, and two validations.
TRAINING = settings("train.steps=10", "train.checkpoint_every=2", "train.validate_every=5")
# Kills of each stage: `make sweeps` tries 100.
KILLS = int(os.environ.get("UNIDIFF_SWEEP", 20))
# Kills of a project before its command may end.
IN_A_ROW = 5


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("kills") / "shop", IMAGES)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, shop, tiny_base):
    """A prepared project with an export."""
    project = Project(tmp_path_factory.mktemp("prepared") / "project")
    prepare(project, load_recipe(tiny_base), shop)
    return write_export(project, tiny_base)


def killed(project, arguments, seconds):
    """Whether a command was killed, with all that it started, so long after it was loaded."""
    with unidiff(project.root, *arguments) as process:
        wait_until(lambda: handles_signals(process))
        time.sleep(seconds)
        if process.poll() is not None:
            return False
        os.killpg(process.pid, signal.SIGKILL)
        ended(process, 60)
    return True


def contents(folder):
    """The bytes of a folder's files, but for what says when it was made."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in DATED)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def training(project):
    """The command that goes on with a project's training, or begins it."""
    begun = project.path("runs").glob(f"*/{provenance.FILE}")
    return ("train", *(("--resume",) if any(begun) else TRAINING))


def sweep(fresh, command, result):
    """How many kills there were, after each round of which all is as without them.

    `command` gives the words of the command, and `result` what came of it, of a project.
    """
    noise, kills = random.Random(0), 0
    whole = fresh("whole")
    started, arguments = time.monotonic(), command(whole)
    with unidiff(whole.root, *arguments) as process:
        wait_until(lambda: handles_signals(process))
        loaded = time.monotonic()
        assert ended(process, 600)[0] == 0
    length, expected = time.monotonic() - loaded, result(whole)
    print(f"{arguments[0]}: loaded in {loaded - started:.1f} s, done in {length:.1f} s")
    number = 0
    while kills < KILLS:
        project, number = fresh(f"killed-{number}"), number + 1
        for _ in range(IN_A_ROW):
            kills += killed(project, command(project), noise.random() * length)
        with unidiff(project.root, *command(project)) as process:
            code, _, err = ended(process, 600)
        assert code == 0, err
        assert result(project) == expected
        shutil.rmtree(project.root)
    return kills


@pytest.mark.slow
def test_a_prepare_that_is_killed_goes_on(tmp_path, shop):
    def fresh(name):
        return Project(tmp_path / name)

    arguments = ("prepare", shop, *settings("prepare.workers=2", "prepare.shard_size=200"))
    kills = sweep(fresh, lambda _: arguments, lambda p: contents(p.path("shards")))
    print(kills, "kills", file=sys.stderr)


@pytest.mark.slow
def test_a_training_that_is_killed_goes_on(tmp_path, prepared, tiny_base):
    """To the same losses, weights, export and index, bit for bit."""

    def fresh(name):
        (tmp_path / name).mkdir()
        return on_tiny_base(copy_project(prepared, tmp_path / name), tiny_base)

    def result(project):
        exported = made(project, ("exports", project.exports()[-1]))
        return outcome(project), exported, contents(project.path("index"))

    print(sweep(fresh, training, result), "kills", file=sys.stderr)


@pytest.mark.slow
def test_an_index_that_is_killed_goes_on(tmp_path, exported):
    def fresh(name):
        return Project(shutil.copytree(exported.root, tmp_path / name))

    kills = sweep(fresh, lambda _: ("index",), lambda p: contents(p.path("index")))
    print(kills, "kills", file=sys.stderr)
