"""The disk under a run: too small before it begins, and too small while it runs."""

import pytest

from tests.support.projects import load_recipe
from tests.support.runs import losses
from unidiff_cli import machine, train
from unidiff_cli.errors import EnvironmentProblem


@pytest.fixture
def disk(monkeypatch):
    """A disk whose free bytes are said by a list of one number."""
    free = [10**12]
    monkeypatch.setattr(machine, "free_bytes", lambda folder: free[0])
    return free


def test_a_disk_without_room_for_the_checkpoints_is_refused_before_a_step(project, tiny_base, disk):
    disk[0] = 10**6
    with pytest.raises(EnvironmentProblem) as caught:
        train(project, load_recipe(tiny_base))
    assert "Run 001-fashion writes" in caught.value.fact and "1.0 MB are free" in caught.value.fact
    assert "train.keep_checkpoints=1" in caught.value.action
    assert not losses(project, "001-fashion")
    # Nothing is lost with it.
    disk[0] = 10**12
    train(project, load_recipe(tiny_base), resume=True)


def test_a_disk_that_fills_is_said_once_and_then_stops_the_run(project, tiny_base, disk, caplog):
    def fill(line):
        if line["step"] == 4:
            disk[0] = 10**6

    recipe = load_recipe(tiny_base, "train.steps=9", "train.checkpoint_every=3")
    with pytest.raises(EnvironmentProblem, match="Checkpoint best .* does not fit"):
        train(project, recipe, on_step=fill)
    said = [text for text in caplog.messages if "the next checkpoint takes" in text]
    assert len(said) == 1 and "1.0 MB are free" in said[0]
    disk[0] = 10**12
    train(project, recipe, resume=True)
    assert len(losses(project, "001-fashion")) == 9
