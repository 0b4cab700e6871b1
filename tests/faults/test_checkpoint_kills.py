"""Kill −9 at every file operation, and in the middle of writes, of one save of a training.

The run goes on to the losses and the weights, bit for bit, of one that nobody killed. Whole
trainings that are killed at random moments are in `test_random_kills.py`.
"""

from contextlib import suppress

import pytest

from tests.support.kills import in_a_child
from tests.support.projects import copy_project, load_recipe
from tests.support.runs import Cut, cut_at, cut_project, outcome
from unidiff_cli import train
from unidiff_cli.project import checkpoints

RUN = "001-fashion"
# The step whose save is killed: its weights are the best so far, and an old checkpoint is deleted.
STEP = 3
# Bytes of a file in whose writing the process is killed. The largest file has 6.9 million.
SIZES = (3_000, 100_000, 2_000_000, 3_440_000, 3_500_000, 5_000_000, 6_900_000)


@pytest.fixture(autouse=True, scope="module")
def without_pages():
    """The page of a run takes more time than its steps, and is no part of a save."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unidiff_cli.training.run.write_page", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def saving(tiny_base):
    return load_recipe(tiny_base, "train.steps=4", "train.checkpoint_every=1")


@pytest.fixture(scope="module")
def cut(prepared, saving, tmp_path_factory):
    """A project whose run ended before it saved STEP."""
    return cut_project(prepared, tmp_path_factory.mktemp("cut"), saving, STEP)


@pytest.fixture(scope="module")
def undisturbed(prepared, saving, tmp_path_factory):
    project = copy_project(prepared, tmp_path_factory.mktemp("undisturbed"))
    train(project, saving)
    return outcome(project)


def saved_once(project, saving, **kill):
    """The events of the save of STEP; None where it was killed."""

    def call():
        with suppress(Cut):
            train(project, saving, resume=True, on_step=cut_at(STEP + 1))

    return in_a_child(call, project.path("runs", RUN, "checkpoints"), **kill)


def assert_goes_on(project, saving, undisturbed):
    """That the newest is whole, and that the same command ends as if nothing had been."""
    folder = project.path("runs", RUN, "checkpoints")
    _, state = next(checkpoints.latest(folder))
    assert isinstance(state, dict), state
    assert in_a_child(lambda: train(project, saving, resume=True), folder)
    assert outcome(project) == undisturbed
    assert not list(folder.glob(".*"))


@pytest.mark.slow
def test_a_kill_at_any_operation_of_a_save_changes_nothing(cut, saving, undisturbed, tmp_path):
    project = copy_project(cut, tmp_path / "0")
    events = saved_once(project, saving)
    assert events > 30
    assert_goes_on(project, saving, undisturbed)
    for at in range(1, events + 1):
        project = copy_project(cut, tmp_path / str(at))
        assert saved_once(project, saving, at=at) is None, f"event {at}"
        assert_goes_on(project, saving, undisturbed)
    print(events, "kills")


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_a_kill_in_the_middle_of_a_write_changes_nothing(cut, saving, undisturbed, tmp_path, size):
    project = copy_project(cut, tmp_path)
    assert saved_once(project, saving, size=size) is None
    assert_goes_on(project, saving, undisturbed)
