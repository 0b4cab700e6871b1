"""Anchor: zero at the base, felt by what trains only, and its frozen copy is nowhere but in memory."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.support.batches import batch_of
from tests.support.projects import load_recipe
from tests.support.runs import GRADIENTS, Cut, cut_at, losses
from unidiff_cli import train
from unidiff_cli.models import loading
from unidiff_cli.objectives.anchor import drift
from unidiff_cli.project import checkpoints
from unidiff_cli.training.module import TrainingModule, combined_needs
from unidiff_cli.training.optimizer import parameter_groups, trained_parameters

ANCHORED = "objectives.anchor.weight=1"


@pytest.fixture
def base(tiny_base):
    return loading.load_base(str(tiny_base), 32)


def move(joint, by=0.05):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in trained_parameters(joint).values():
            parameter.add_(by * torch.randn_like(parameter))


def test_drift_by_hand():
    """Two images, two captions: the base tells them apart 3 : 1, the tuned one not at all."""
    ln3, even = math.log(3), torch.zeros(2, 2, dtype=torch.float64)
    frozen = torch.tensor([[ln3, 0.0], [0.0, ln3]], dtype=torch.float64)
    by_hand = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert float(drift(even, frozen, temperature=1.0)) == pytest.approx(by_hand, rel=1e-12)
    assert float(drift(even, 0.1 * frozen, temperature=0.1)) == pytest.approx(by_hand, rel=1e-12)
    # Both captions prefer the first image, and no image prefers a caption: only the columns differ.
    lopsided = torch.tensor([[ln3, ln3], [0.0, 0.0]], dtype=torch.float64)
    assert float(drift(even, lopsided, temperature=1.0)) == pytest.approx(by_hand / 2, rel=1e-12)
    assert float(drift(lopsided, lopsided)) == 0


@pytest.mark.parametrize("name", ["fashion", "clip-only"])
def test_zero_at_the_base_and_positive_after_it_moved(base, tiny_base, name):
    recipe = load_recipe(tiny_base, ANCHORED, name=name)
    joint = TrainingModule(base, recipe.active(), seed=0)
    parameter_groups(joint, recipe.train)
    assert joint(batch_of(8))[1]["anchor"] == 0
    move(joint)
    assert joint(batch_of(8))[1]["anchor"] > 1e-4


def test_only_what_trains_gets_a_gradient(base, tiny_base):
    recipe = load_recipe(tiny_base, ANCHORED, "train.trains=[vision]", name="clip-only")
    joint = TrainingModule(base, {"anchor": recipe.active()["anchor"]}, seed=0)
    groups = parameter_groups(joint, recipe.train)
    move(joint)
    joint(batch_of(8))[0].backward()
    assert any(p.grad.abs().sum() > 0 for p in base.towers()["vision"])
    assert all(p.grad is None for p in [*base.towers()["text"], *joint.frozen.parameters()])
    held = {id(p) for group in groups for p in group["params"]}
    assert not held & {id(p) for p in joint.frozen.parameters()}


def test_a_run_that_does_not_read_it_keeps_no_copy(base, tiny_base):
    relational = load_recipe(tiny_base, "objectives.consistency.kind=relational").active()
    assert TrainingModule(base, relational, 0).frozen is None
    asked = combined_needs(load_recipe(tiny_base, ANCHORED, name="sd-only").active())
    assert asked.frozen_images and asked.frozen_texts and asked.pixels
    assert (
        not combined_needs(relational).frozen_images and not combined_needs(relational).frozen_texts
    )
    held = load_recipe(tiny_base, "objectives.consistency.kind=relational+anchor").active()
    assert (
        TrainingModule(base, held, 0).frozen is not None
        and TrainingModule(base, held, 0, cached=True).frozen is None
    )


def test_half_precision_is_zero_at_the_base_too(base, tiny_base):
    joint = TrainingModule(
        base, load_recipe(tiny_base, ANCHORED, name="clip-only").active(), seed=0
    )
    with torch.autocast("cpu", torch.bfloat16):
        total, parts = joint(batch_of(8))
    assert parts["anchor"] == 0 and parts["anchor"].dtype == torch.float32


def test_a_run_resumes_exactly_and_its_checkpoints_hold_no_copy(project, tmp_path, recipe):
    from tests.support.projects import copy_project

    anchored, whole = load_recipe(recipe.base, ANCHORED), copy_project(project, tmp_path / "whole")
    name, _ = train(whole, anchored)
    with pytest.raises(Cut):
        train(project, anchored, on_step=cut_at(5))  # after the checkpoint of step 3
    train(project, anchored, resume=True)
    assert losses(project, name) == losses(whole, name)
    kept = checkpoints.tensors(project.path("runs", name, "checkpoints", "step-000006"), "weights")
    assert kept.keys() <= dict(loading.load_base(str(recipe.base), 32).named_parameters()).keys()


def test_two_processes_train_where_nothing_reads_the_temperature(project, recipe):
    """DDP waits for the gradient of every parameter it was not told may have none."""
    without = [f"objectives.{name}=null" for name in ("contrastive", "consistency")]
    asked = load_recipe(recipe.base, ANCHORED, *without, "train.processes=2", "train.steps=3")
    name, _ = train(project, asked)
    assert sorted(losses(project, name)) == [1, 2, 3]


def test_gradients_of_two_processes_equal_those_of_one(tmp_path, tiny_base):
    from safetensors.torch import load_file

    moved = "torch.manual_seed(0)\nfor p in trained(joint).values(): p.data.add_(0.05 * torch.randn_like(p))\n"
    code = GRADIENTS.replace("load_recipe(sys.argv[1])", f"load_recipe(sys.argv[1], '{ANCHORED}')")
    code = code.replace("batch = batch_of(8)\n", f"batch = batch_of(8)\n{moved}")
    assert ANCHORED in code and moved in code
    script, one, two = (
        tmp_path / name for name in ("gradients.py", "one.safetensors", "two.safetensors")
    )
    script.write_text(code)
    env = {**os.environ, "OMP_NUM_THREADS": "1", "CHECKOUT": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, script, tiny_base, one], check=True, env=env)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([*launch, script, tiny_base, two], check=True, env=env)
    ours, theirs = load_file(two), load_file(one)
    scale = max(float(gradient.abs().max()) for gradient in theirs.values())
    assert all(float((ours[k] - v).abs().max()) < 1e-12 * scale for k, v in theirs.items())
