"""Trackers by name: they get a run's figures, and one that is not there is a sentence."""

import sys
import types
from importlib.machinery import ModuleSpec

import pytest

from tests.support.projects import load_recipe
from unidiff_cli import train
from unidiff_cli.errors import EnvironmentProblem
from unidiff_cli.training import trackers


@pytest.fixture
def wandb(monkeypatch):
    """A module of this name that keeps what it is told."""
    fake = types.ModuleType("wandb")
    fake.__spec__ = ModuleSpec("wandb", None)
    fake.told, fake.started = {}, []

    class Config(dict):
        def update(self, values, allow_val_change):
            super().update(values)

    class Run:
        def log(self, values, step):
            fake.told.setdefault(step, {}).update(values)

        def finish(self):
            fake.ended = True

    def init(**options):
        fake.started.append(options)
        return Run()

    fake.init, fake.config = init, Config()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


def test_a_tracker_gets_the_figures_and_the_recipe(project, tiny_base, wandb):
    asked = load_recipe(
        tiny_base, "train.trackers=[wandb]", "train.steps=1", "train.validate_every=1"
    )
    name, _ = train(project, asked)
    folder = project.path("runs", name)
    assert wandb.started == [{"project": "unidiff", "name": name, "dir": str(folder)}]
    assert set(wandb.told) == {1} and wandb.told[1]["contrastive"] > 0
    assert "validation/r1_t2i" in wandb.told[1] and wandb.config["train.steps"] == 1
    assert wandb.ended and not (folder / "tensorboard").exists()


def test_a_tracker_that_does_not_start_is_a_sentence(project, tiny_base, wandb):
    def refuse(**_):
        raise RuntimeError("api_key not configured")

    wandb.init = refuse
    with pytest.raises(EnvironmentProblem, match="wandb does not start: api_key") as caught:
        train(project, load_recipe(tiny_base, "train.trackers=[wandb]", "train.steps=1"))
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("name", ["mlflow", "trackio"])
def test_a_tracker_that_is_not_installed_is_named_before_anything_is_done(
    project, tiny_base, name, monkeypatch
):
    monkeypatch.setattr(trackers, "find_spec", lambda module: None)
    with pytest.raises(EnvironmentProblem, match=f"package {name} is not installed") as caught:
        train(project, load_recipe(tiny_base, f"train.trackers=[{name}]"))
    assert caught.value.exit_code == 3 and "pip install" in caught.value.action
    assert project.runs() == []


@pytest.mark.slow
def test_no_tracker_is_a_choice(project, tiny_base):
    name, _ = train(project, load_recipe(tiny_base, "train.trackers=[]", "train.steps=1"))
    assert not project.path("runs", name, "tensorboard").exists()
