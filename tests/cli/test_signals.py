"""Signals to a real process: what was done is saved, and the run goes on from there."""

import signal

import pytest

from tests.support.cli import LONG, Training
from unidiff_cli.project import run_log
from unidiff_cli.project.receipt import Receipt

SETTINGS = [word for assignment in LONG for word in ("--set", assignment)]


@pytest.fixture
def interrupted(project):
    """A project whose run was stopped by Ctrl-C, the step it came to, and what was printed."""
    with Training(project, *SETTINGS) as training:
        training.until_step(2)
        code, out, err = training.send(signal.SIGINT)
    assert code == 130 and out == "", err
    return project, training.steps()[-1], err


def test_ctrl_c_saves_a_checkpoint_and_names_the_command_to_continue(interrupted):
    project, step, err = interrupted
    assert f"Stopped at step {step}" in err and "unidiff train --resume" in err
    assert "Traceback" not in err
    run = project.path("runs", "001-fashion")
    assert (run / "checkpoints" / f"step-{step:06d}" / "state.json").is_file()
    assert Receipt.read(run) is None and project.exports() == []


@pytest.mark.slow
def test_resume_continues_with_the_runs_own_recipe_and_sigterm_saves_again(interrupted):
    project, step, _ = interrupted
    project.file.write_text(project.file.read_text() + "train: {stepz: broken since}\n")
    with Training(project, "--resume") as training:
        training.until_step(step + 2)
        code, _, err = training.send(signal.SIGTERM)
    assert code == 143, err
    assert f"goes on from step {step}" in err and "Traceback" not in err
    last = training.steps()[-1]
    assert training.steps() == list(range(1, last + 1)), "none is lost, none is there twice"
    assert (training.run / "checkpoints" / f"step-{last:06d}" / "state.json").is_file()


@pytest.mark.slow
def test_a_kill_before_any_checkpoint_starts_over_and_says_so(project):
    with Training(project, *SETTINGS) as training:
        training.until_step(2)
        assert training.send(signal.SIGKILL)[0] == -signal.SIGKILL
    assert not list((training.run / "checkpoints").glob("step-*"))
    before = training.steps()[-1]
    with open(training.run / run_log.FILE, "a") as stream:
        # What a kill may leave.
        stream.write('{"step": 999, "lo')

    with Training(project, "--resume") as training:
        training.until(lambda steps: steps[-1:] not in ([], [before]))
        code, _, err = training.send(signal.SIGINT)
    assert code == 130 and "has no checkpoint yet and starts over" in err
    assert training.steps() == list(range(1, training.steps()[-1] + 1))
