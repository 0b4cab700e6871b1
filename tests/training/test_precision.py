"""Half precision, asked for on any machine; and fp16's loss, whose scale follows the gradients."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from tests.support.projects import copy_project, load_recipe
from tests.support.runs import assert_resumes_exactly, losses
from unidiff_cli import machine, train
from unidiff_cli.models import loading
from unidiff_cli.project import checkpoints, run_log
from unidiff_cli.training import precision
from unidiff_cli.training.assembly import trainer_of
from unidiff_cli.training.example_batches import batches_in_pairs, filled
from unidiff_cli.training.precision import (
    Precision,
    accelerator_of,
    precision_of,
    warn_of_slow_half,
)


@pytest.mark.parametrize("half", ["bf16", "fp16"])
def test_half_precision_trains_and_stays_finite(project, tiny_base, half):
    recipe = load_recipe(tiny_base, f"train.precision={half}", "train.steps=3")
    name, _ = train(project, recipe)
    lines = run_log.read(project.path("runs", name))
    values = [line["loss"] for line in lines if "loss" in line]
    assert len(values) == 3 and np.isfinite(values).all()


@pytest.mark.parametrize(("has", "taken"), [(True, "bf16"), (False, "fp32")])
def test_auto_is_bf16_where_there_are_instructions_for_it(tiny_base, monkeypatch, has, taken):
    monkeypatch.setattr(machine, "bf16_supported", lambda: has)
    options = load_recipe(tiny_base, "train.precision=auto").train
    assert precision_of(options) == taken
    # What is asked for by name stays.
    for name in ("fp32", "fp16", "bf16"):
        assert precision_of(options.model_copy(update={"precision": name})) == name


@pytest.fixture
def first_scale(monkeypatch):
    """Sets the scale that runs in fp16 begin with; the gradients of tiny bases are large."""
    return lambda scale: monkeypatch.setattr(precision, "FIRST_SCALE", scale)


@pytest.mark.slow
def test_fp16_measures_the_gradients_of_fp32(project, tiny_base, first_scale):
    """Norms in the log are of gradients that are not multiplied with the scale."""
    first_scale(2.0**8)
    runs = {}
    for name in ("fp32", "fp16"):
        there = copy_project(project, project.root.parent / name)
        recipe = load_recipe(tiny_base, f"train.precision={name}", "train.steps=1")
        run, _ = train(there, recipe)
        runs[name] = next(x for x in run_log.read(there.path("runs", run)) if "loss" in x)
    for figure in ("grad_norm", "gradient_norm_text_retrieval", "gradient_norm_text_generation"):
        assert runs["fp16"][figure] == pytest.approx(runs["fp32"][figure], rel=0.05), figure


@pytest.mark.slow
def test_a_run_in_fp16_goes_on_with_its_scale(project, tmp_path, tiny_base, first_scale):
    first_scale(2.0**8)
    recipe = load_recipe(tiny_base, "train.precision=fp16")
    name = assert_resumes_exactly(project, tmp_path, recipe, 4)
    newest = checkpoints.committed(project.path("runs", name, "checkpoints"))[-1]
    assert checkpoints.verified(newest)["loss_scale"]["_growth_tracker"] == recipe.train.total_steps


def test_a_step_that_overflows_changes_no_weight_and_halves_the_scale(
    project, tiny_base, monkeypatch, first_scale
):
    first_scale(2.0**20)
    steps, whole = [], Precision.step

    def step(self, optimizer):
        parameter, scale = optimizer.param_groups[0]["params"][0], self.scale
        before = parameter.detach().clone()
        whole(self, optimizer)
        steps.append((self.scale / scale, bool(torch.equal(before, parameter))))

    monkeypatch.setattr(Precision, "step", step)
    recipe = load_recipe(tiny_base, "train.precision=fp16", "train.warmup=0", "train.steps=12")
    train(project, recipe)
    # Halved until a step fits, and again where a later one is larger.
    assert steps[0] == (0.5, True) and set(steps) == {(0.5, True), (1.0, False)}, steps
    assert len(losses(project, "001-fashion")) == 12


# ---------------------------------------------------------------- on a processor


@pytest.mark.parametrize("half", ["bf16", "fp16", "fp32"])
def test_a_processor_without_instructions_for_it_is_named(
    project, tiny_base, monkeypatch, caplog, half
):
    monkeypatch.setattr(machine, "processor_has", lambda precision: False)
    warn_of_slow_half(load_recipe(tiny_base, f"train.precision={half}").train)
    said = [record.message for record in caplog.records]
    assert [f"no instructions for {half}" in text for text in said] == [True] * (half != "fp32")


class Attention(TorchDispatchMode):
    """The precisions in which fused attention and its backward pass compute."""

    def __init__(self):
        super().__init__()
        self.seen = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if "scaled_dot_product" in str(func):
            way = "backward" if "backward" in str(func) else "forward"
            self.seen.setdefault(way, []).append(args[0].dtype)
        return func(*args, **(kwargs or {}))


def gradients_of(recipe):
    """The gradients of a step, and the precisions of its attention."""
    base = loading.load_base(recipe.base, recipe.image_size)
    with accelerator_of(recipe.train) as accelerator, Attention() as attention:
        torch.manual_seed(0)
        trainer = trainer_of(accelerator, base, recipe)
        gradients = []
        trainer._clip = lambda: (
            gradients.extend(
                p.grad.flatten() for p in trainer.module.parameters() if p.grad is not None
            )
            or torch.ones(())
        )
        torch.manual_seed(1)
        next(
            trainer.steps(iter([filled(next(iter(batches_in_pairs(recipe)(base))), base, recipe)]))
        )
        return torch.cat(gradients), attention.seen


def test_attention_is_fp32_on_a_processor_also_where_a_pass_is_made_again(tiny_base, monkeypatch):
    """And what trains gets about the gradients of bf16's own."""
    recipe = load_recipe(
        tiny_base, "train.precision=bf16", "train.gradient_checkpointing=true", name="joint"
    )
    whole, seen = gradients_of(recipe)
    assert {*seen["forward"], *seen["backward"]} == {torch.float32}
    monkeypatch.setattr(Precision, "whole_attention", lambda self: nullcontext())
    half, seen_half = gradients_of(recipe)
    assert {*seen_half["forward"], *seen_half["backward"]} == {torch.bfloat16}
    assert {way: len(seen[way]) for way in seen} == {way: len(seen_half[way]) for way in seen_half}
    assert functional.cosine_similarity(whole, half, dim=0) > 0.98
