"""A disk that is full after so many bytes, at sizes from nothing to all that a stage writes.

The command ends with one sentence and exit code 3, and what was whole stays so. Once there is space
it gives what an undisturbed one gives. The disk is a real one. It may say how much is free, or not,
as where a quota ends the writing: then a run learns of it only in the middle of a write.
"""

import contextlib
import re
import shutil

import pytest
import torch

from tests.support.cli import on_tiny_base, words
from tests.support.commands import in_a_fork
from tests.support.disks import PAGE, mounted
from tests.support.folders import leftovers, made
from tests.support.projects import copy_project
from tests.support.runs import cut_project, outcome
from unidiff_cli import Project, machine
from unidiff_cli.errors import EnvironmentProblem
from unidiff_cli.project import checkpoints
from unidiff_cli.project.files import files_below
from unidiff_cli.project.verify import verify

RUN = "001-fashion"
# How many sizes of the disk each stage is tried with.
SIZES = 12
# Pages of a disk that is large enough.
LARGE = 1 << 15
TELLS = pytest.mark.parametrize("tells", [True, False], ids=["tells", "quota"])


@pytest.fixture
def disk(tmp_path):
    with mounted(tmp_path / "disk", "256m") as disk:
        yield disk


@contextlib.contextmanager
def telling(tells):
    """Whether the disk says how little is free."""
    with pytest.MonkeyPatch.context() as patch:
        if not tells:
            patch.setattr(machine, "free_bytes", lambda path: 1 << 50)
        yield


# ---------------------------------------------------------------- one save


@TELLS
def test_a_save_at_every_size_is_whole_or_not_there(disk, tells):
    """At every page from none to all."""
    folder = disk.place / "checkpoints"

    def save(step):
        parts = ("weights", "averaged", "heads", "optimizer")
        tensors = {part: {"a": torch.full((9_000,), float(step))} for part in parts}
        return checkpoints.save(folder, checkpoints.step_name(step), tensors, {"step": step})

    save(1)
    with telling(tells):
        for pages in range(100):
            disk.leave(pages)
            try:
                save(2)
                break
            except EnvironmentProblem as problem:
                assert problem.exit_code == 3 and "does not fit on the disk" in problem.fact
                assert str(folder) in problem.fact and "train --resume" in problem.action
            assert [path.name for path in folder.iterdir()] == ["step-000001"], pages
            assert checkpoints.verified(folder / "step-000001")["step"] == 1
    assert 36 < pages < 50
    assert checkpoints.verified(folder / "step-000002")["step"] == 2


# ---------------------------------------------------------------- stages


@pytest.fixture(scope="module")
def empty(tiny_base, tmp_path_factory):
    """A project that names the tiny base and holds nothing."""
    project = Project(tmp_path_factory.mktemp("empty") / "project")
    project.root.mkdir()
    return on_tiny_base(project, tiny_base)


@pytest.fixture(scope="module")
def whole(finished, tiny_base, tmp_path_factory):
    """A project with an export and an index."""
    return on_tiny_base(copy_project(finished, tmp_path_factory.mktemp("whole")), tiny_base)


@pytest.fixture(scope="module")
def cut(prepared, recipe, tiny_base, tmp_path_factory):
    """A project whose run ended after its step 4 of 6, with the checkpoint of step 3."""
    return on_tiny_base(cut_project(prepared, tmp_path_factory.mktemp("cut"), recipe, 4), tiny_base)


def sentence_of(printed):
    """The one error that a command ended with, in a line."""
    assert "Traceback" not in printed, printed
    assert len(re.findall("^error: ", printed, re.MULTILINE)) == 1, printed
    return words(printed[printed.index("error: ") :])


def assert_full(project, code, printed):
    """That a command ended with the one sentence of a full disk, and what was whole is so."""
    sentence = sentence_of(printed)
    assert code == 3 and str(project.root) in sentence, printed
    assert re.search("disk is full|does not fit on the disk|are free for", sentence), printed
    assert [line for each in verify(project) for line in each.damage] == [], printed
    for checkpoint in project.path("runs").glob(f"*/checkpoints/[!.]*/{checkpoints.STATE}"):
        checkpoints.verified(checkpoint.parent)


def size_of(project):
    return sum(file.stat().st_size for file in files_below(project.root))


def sweep(disk, source, folder, command, result, tells):
    """Runs a command at growing sizes of the disk until one is enough.

    `result` is what a project holds once the command is done.
    """
    (folder / "undisturbed").mkdir()
    project = copy_project(source, folder / "undisturbed")
    before = size_of(project)
    code, printed = in_a_fork(folder, "-C", project.root, *command)
    assert code == 0, printed
    expected, after = result(project), size_of(project)
    # Half of the sizes are small. What is replaced is there twice for a moment.
    step = max(after - before, after // 2) // PAGE // (SIZES // 2)
    sizes = [*range(SIZES // 2), *range(step, 99 * step, step)]
    for pages in sizes:
        project = copy_project(source, disk.place)
        disk.leave(pages)
        with telling(tells):
            code, printed = in_a_fork(folder, "-C", project.root, *command)
        if code:
            assert_full(project, code, f"{pages} pages\n{printed}")
            disk.leave(LARGE)
            again, printed = in_a_fork(folder, "-C", project.root, *command)
            assert again == 0, printed
        assert result(project) == expected, f"{pages} pages\n{printed}"
        assert leftovers(project) == []
        disk.leave(LARGE)
        shutil.rmtree(project.root)
        if not code:
            break
    failed = sizes.index(pages)
    print(f"{command[0]}: full {failed} times, enough at {pages} pages")
    assert code == 0 and failed >= SIZES // 2


@TELLS
@pytest.mark.slow
def test_training_on_a_disk_of_any_size(disk, cut, tmp_path, tells):
    """With the export and the index that follow it."""

    def result(project):
        return outcome(project), made(project, ("exports", RUN)), made(project, ("index",))

    sweep(disk, cut, tmp_path, ("train", "--resume"), result, tells)


@pytest.mark.parametrize(
    "command", [("export", "--force"), ("index", "--force")], ids=lambda words: words[0]
)
@pytest.mark.slow
def test_a_stage_that_is_done_again_on_a_disk_of_any_size(
    disk,
    whole,
    tmp_path,
    command,
):
    names = {"export": ("exports", RUN), "index": ("index",)}[command[0]]
    sweep(disk, whole, tmp_path, command, lambda project: made(project, names), tells=False)


@pytest.mark.slow
def test_prepare_on_a_disk_of_any_size(disk, empty, catalogue, tmp_path):
    command = ("prepare", catalogue)
    sweep(disk, empty, tmp_path, command, lambda project: made(project, ("shards",)), False)
