"""Fifty damages of each file of a checkpoint: noticed, named, and an older one taken; never used.

What is loaded is compared bit for bit with what was saved at the step that is said.
"""

import logging
import random
import shutil

import pytest
import torch

from tests.support.damage import DAMAGE, MORE_DAMAGE, damage
from tests.support.projects import copy_project, load_recipe
from tests.support.runs import cut_project, outcome
from unidiff_cli import train
from unidiff_cli.errors import Damaged
from unidiff_cli.models import loading
from unidiff_cli.project import checkpoints
from unidiff_cli.training.assembly import trainer_of
from unidiff_cli.training.run import Run, rewind

RUN = "001-fashion"
# The checkpoints of the run, oldest first.
STEPS = (2, 3, 4)
KINDS = (*DAMAGE, *MORE_DAMAGE, "missing")


@pytest.fixture(scope="module")
def saving(tiny_base):
    return load_recipe(tiny_base, "train.checkpoint_every=1", "train.keep_checkpoints=3")


@pytest.fixture(scope="module")
def cut(prepared, saving, tmp_path_factory):
    """A project whose run ended in its step 5 of 6, with the checkpoints of STEPS."""
    return cut_project(prepared, tmp_path_factory.mktemp("cut"), saving, 5)


@pytest.fixture(scope="module")
def begun(cut, saving, tmp_path_factory):
    """The run as a process that resumes it has it, and its folder of checkpoints."""
    from accelerate import Accelerator

    base = loading.load_recipe_base(saving)
    folder = copy_project(cut, tmp_path_factory.mktemp("begun")).path("runs", RUN)
    trainer = trainer_of(Accelerator(cpu=True), base, saving)
    return Run(folder, saving, trainer, None, keep=lambda: None), folder / "checkpoints"


def spoil(file, kind, noise):
    """Damages a file, and gives what was in it."""
    kept = file.read_bytes()
    if kind == "missing":
        file.unlink()
    else:
        place, much = noise.randrange(1 << 30), noise.randrange(1 << 20)
        file.write_bytes(damage(kept, kind, place, much))
    return kept


def values(run):
    """All that training goes on from."""
    return {
        (part, name): tensor.clone()
        for part, named in run.trainer.tensors().items()
        for name, tensor in named.items()
    }


def resumed(run):
    """What a resumed process loads: the step, and the values."""
    rewind(run.folder)
    run.restore()
    return run.trainer.done, values(run)


def equal(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.fixture(scope="module")
def saved(begun):
    """Step -> the values that its checkpoint holds, by loading each alone."""
    run, folder = begun
    assert tuple(checkpoints.verified(each)["step"] for each in checkpoints.committed(folder)) == (
        STEPS
    )
    by_step = {}
    for step in reversed(STEPS):
        done, by_step[step] = resumed(run)
        assert done == step
        shutil.move(folder / checkpoints.step_name(step), folder.parent / f"aside-{step}")
    for step in STEPS:
        shutil.move(folder.parent / f"aside-{step}", folder / checkpoints.step_name(step))
    first, second = by_step[STEPS[0]], by_step[STEPS[1]]
    assert not equal(first, second)
    return by_step


def files_of(folder, step=STEPS[-1]):
    return sorted((folder / checkpoints.step_name(step)).iterdir())


FILES = ("averaged", "averaged_heads", "heads", "optimizer", "weights")
NAMES = (*(f"{name}.safetensors" for name in FILES), checkpoints.STATE)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_is_named_and_the_checkpoint_before_it_is_taken(begun, saved, caplog, name):
    (run, folder), noise = begun, random.Random(name)
    caplog.set_level(logging.INFO, "unidiff")
    assert [file.name for file in files_of(folder)] == sorted(NAMES)
    file, same = folder / checkpoints.step_name(STEPS[-1]) / name, 0
    for number in range(50):
        kind = KINDS[number % len(KINDS)]
        caplog.clear()
        kept = spoil(file, kind, noise)
        try:
            step, loaded = resumed(run)
        finally:
            changed = not file.exists() or file.read_bytes() != kept
            file.write_bytes(kept)
        what = f"{number}: {kind} of {name}"
        assert equal(loaded, saved[step]), what
        if step == STEPS[-1]:
            same += 1
            # It was no damage, or none that JSON can see.
            assert not changed or name == checkpoints.STATE, what
        else:
            assert step == STEPS[-2], what
            assert f"{file.parent.name}" in caplog.text and name in caplog.text, what
            assert f"goes on from step {step}" in caplog.text, what
    assert same < 10
    print(f"{name}: {50 - same} damages named, {same} changed nothing")


@pytest.mark.slow
def test_where_all_are_damaged_it_says_what_is_left_and_starts_nothing(begun, saved):
    (run, folder), noise = begun, random.Random(0)
    log = (run.folder / "log.jsonl").read_bytes()
    for number in range(50):
        kept = {}
        for step in STEPS:
            file = noise.choice(files_of(folder, step))
            while file not in kept or (file.exists() and file.read_bytes() == kept[file]):
                kept[file] = spoil(file, noise.choice(KINDS), noise)
        try:
            with pytest.raises(Damaged, match=f"All checkpoints of run {RUN} are dam") as caught:
                resumed(run)
            whole = checkpoints.whole_files(folder)
        finally:
            for file, data in kept.items():
                file.write_bytes(data)
        assert "best/averaged.safetensors" in caught.value.action, number
        assert all(name in caught.value.action for name in whole) and len(whole) > 5, number
        assert (run.folder / "log.jsonl").read_bytes() == log
    assert resumed(run)[0] == STEPS[-1]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_run_with_a_damaged_checkpoint_ends_as_one_without(
    cut, saving, whole_outcome, tmp_path, name
):
    """Where the file is missing, which is what hinders its replacement the most, or is damaged."""
    for kind in ("missing", "flip"):
        (tmp_path / kind).mkdir()
        project = copy_project(cut, tmp_path / kind)
        folder = project.path("runs", RUN, "checkpoints")
        spoil(folder / checkpoints.step_name(STEPS[-1]) / name, kind, random.Random(1))
        train(project, saving, resume=True)
        assert outcome(project) == whole_outcome, kind


@pytest.fixture(scope="module")
def whole_outcome(cut, saving, tmp_path_factory):
    """What the run comes to without a damage."""
    project = copy_project(cut, tmp_path_factory.mktemp("whole"))
    train(project, saving, resume=True)
    return outcome(project)
