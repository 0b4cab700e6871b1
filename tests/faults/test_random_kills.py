"""Kill −9 at random moments of what goes on where it was: prepare, and the index.

A killed command is started again until one ends. Then all files are those of an undisturbed one.
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
from tests.support.exports import write_export
from tests.support.processes import ended, handles_signals, settings, unidiff, wait_until
from tests.support.projects import load_recipe
from unidiff_cli import Project, prepare
from unidiff_cli.data.kept_images import PACK_IMAGES
from unidiff_cli.retrieval.blocks import BLOCK

IMAGES = 2 * max(PACK_IMAGES, BLOCK) + 300
DATED = ("receipt.json", "report.html")
# Kills of each stage: `make sweeps` tries 100.
KILLS = int(os.environ.get("UNIDIFF_SWEEP", 20))
# Kills of a project before its command may end.
IN_A_ROW = 5


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("kills") / "shop", IMAGES)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, shop, tiny_base):
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


def sweep(fresh, arguments, folder):
    """How many kills there were, after each round of which the folder is as without them."""
    noise, kills = random.Random(0), 0
    whole = fresh("whole")
    started = time.monotonic()
    with unidiff(whole.root, *arguments) as process:
        wait_until(lambda: handles_signals(process))
        loaded = time.monotonic()
        assert ended(process, 600)[0] == 0
    length, expected = time.monotonic() - loaded, contents(whole.path(folder))
    print(f"{arguments[0]}: loaded in {loaded - started:.1f} s, done in {length:.1f} s")
    number = 0
    while kills < KILLS:
        project, number = fresh(f"killed-{number}"), number + 1
        for _ in range(IN_A_ROW):
            kills += killed(project, arguments, noise.random() * length)
        with unidiff(project.root, *arguments) as process:
            code, _, err = ended(process, 600)
        assert code == 0, err
        assert contents(project.path(folder)) == expected
        shutil.rmtree(project.root)
    return kills


@pytest.mark.slow
def test_a_prepare_that_is_killed_goes_on(tmp_path, shop):
    def fresh(name):
        return Project(tmp_path / name)

    arguments = ("prepare", shop, *settings("prepare.workers=2", "prepare.shard_size=200"))
    print(sweep(fresh, arguments, "shards"), "kills", file=sys.stderr)


@pytest.mark.slow
def test_an_index_that_is_killed_goes_on(tmp_path, prepared):
    def fresh(name):
        return Project(shutil.copytree(prepared.root, tmp_path / name))

    print(sweep(fresh, ("index",), "index"), "kills", file=sys.stderr)
