"""The run: resumes exactly, stops whole, and two processes do what one does."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.support.projects import copy_project, load_recipe
from tests.support.runs import GRADIENTS, Cut, cut_at, losses
from unidiff_cli import train
from unidiff_cli.data.shards import Shards
from unidiff_cli.errors import NotReady, WorkError
from unidiff_cli.project import run_log
from unidiff_cli.project.receipt import Receipt


def test_a_finished_run_has_log_tensorboard_checkpoints_and_receipt(finished, recipe):
    run = finished.path("runs", "001-fashion")
    lines = [line for line in run_log.read(run) if "loss" in line]
    assert [line["step"] for line in lines] == list(range(1, recipe.train.steps + 1))
    assert {"contrastive", "denoise", "consistency", "lr", "grad_norm"} <= set(lines[0])
    assert any(
        "validation" in line and "r1_t2i" in line["validation"] for line in run_log.read(run)
    )
    assert list(run.glob("tensorboard/**/events*")) and list(run.glob("previews/*.png"))
    assert (run / "checkpoints" / "best" / "averaged.safetensors").exists()
    assert not list(run.rglob("*.pt")) and not list(run.rglob("*.bin"))
    assert Receipt.read(run).inputs == {"shards": finished.receipt("shards").hash}


def test_the_same_work_is_not_done_twice(finished, recipe):
    name, receipt = train(finished, recipe)
    assert name == "001-fashion" and finished.runs() == ["001-fashion"]


def test_a_run_that_is_cut_and_resumed_equals_one_that_is_not(
    project, finished, recipe, monkeypatch
):
    """Bit for bit: losses of every step and the exported weights."""

    with pytest.raises(Cut):
        train(
            project, recipe, on_step=cut_at(5)
        )  # after the checkpoint of step 3, before the one of step 6
    assert Receipt.read(project.path("runs", "001-fashion")) is None
    name, _ = train(project, recipe, resume=True)
    assert losses(project, name) == losses(finished, "001-fashion")
    for part in ("best", "step-000006"):
        ours, theirs = (
            p.path("runs", name, "checkpoints", part, "averaged.safetensors")
            for p in (project, finished)
        )
        assert ours.read_bytes() == theirs.read_bytes()


def test_resume_without_a_checkpoint_starts_over_and_says_so(project, recipe, caplog):
    with pytest.raises(Cut):
        train(project, recipe, on_step=cut_at(1))
    import logging

    logging.getLogger("unidiff").propagate = True
    train(project, recipe, resume=True)
    assert "starts over" in caplog.text
    assert sorted(losses(project, "001-fashion")) == list(range(1, 7))


def test_a_damaged_checkpoint_is_passed_over(project, recipe, caplog):
    with pytest.raises(Cut):
        train(project, load_recipe(recipe.base, "train.checkpoint_every=2"), on_step=cut_at(6))
    newest = project.path(
        "runs", "001-fashion", "checkpoints", "step-000004", "weights.safetensors"
    )
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    import logging

    logging.getLogger("unidiff").propagate = True
    train(project, recipe, resume=True)
    assert "step-000004" in caplog.text and "goes on from step 2" in caplog.text


def test_resume_without_any_run(project, recipe):
    with pytest.raises(NotReady, match="no run to resume"):
        train(project, recipe, resume=True)


def test_train_before_prepare_names_the_command(tmp_path, recipe):
    from unidiff_cli import Project

    with pytest.raises(NotReady, match="unidiff prepare"):
        train(Project(tmp_path / "empty"), recipe)


def test_a_loss_that_is_no_number_stops_and_changes_nothing(project, recipe, monkeypatch):
    from unidiff_cli.objectives.denoise import Denoise

    whole = Denoise.loss

    def poisoned(self, forward):
        loss, figures = whole(self, forward)
        return loss * (float("nan") if forward.step == 4 else 1.0), figures

    monkeypatch.setattr(Denoise, "loss", poisoned)
    with pytest.raises(WorkError, match="step 5 is not finite"):
        train(project, recipe)
    monkeypatch.undo()
    name, _ = train(project, recipe, resume=True)
    assert len(losses(project, name)) == 6


def test_what_the_base_saw_is_cached_and_the_same(project, prepared, tmp_path, recipe):
    """relational+anchor holds no second CLIP where images are cached, and trains as with one."""
    held = "objectives.consistency.kind=relational+anchor"
    name, _ = train(project, load_recipe(recipe.base, held))
    (file,) = project.path("cache").glob("*/train/frozen_image_embeds-*.npy")
    rows = Shards.open(project.path("shards")).rows("train")
    seen = np.load(file)
    assert seen.shape[0] == len(rows) and np.allclose(np.linalg.norm(seen, axis=1), 1, atol=1e-5)
    other = copy_project(prepared, tmp_path / "other")
    again, _ = train(other, load_recipe(recipe.base, held, "train.cache_latents=false"))
    ours, theirs = (
        run_log.read(p.path("runs", n))[1:] for p, n in ((project, name), (other, again))
    )
    for mine, its in list(zip(ours, theirs, strict=True))[:3]:
        assert mine["consistency"] == pytest.approx(its["consistency"], rel=5e-3)


def test_images_decoded_on_the_fly_train_like_cached_ones(project, finished, recipe):
    on_the_fly = load_recipe(recipe.base, "train.cache_latents=false", "train.workers=1")
    name, _ = train(project, on_the_fly)
    ours, theirs = losses(project, name), losses(finished, "001-fashion")
    assert not project.path("cache").exists()
    assert ours[1] == pytest.approx(
        theirs[1], rel=2e-3
    )  # the cache keeps latents in half precision


def test_two_processes_do_the_work_of_one(project, finished, recipe):
    """World size asserted inside `work`; the whole batch's loss and the trained weights agree."""
    from unidiff_cli.project import checkpoints

    name, receipt = train(project, load_recipe(recipe.base, "train.processes=2"))
    ours, theirs = losses(project, name), losses(finished, "001-fashion")
    assert sorted(ours) == sorted(theirs)
    contrastive = [
        [line["contrastive"] for line in run_log.read(p.path("runs", name)) if "loss" in line]
        for p in (project, finished)
    ]
    assert contrastive[0] == pytest.approx(
        contrastive[1], rel=1e-3
    )  # an in-batch term: both hold the whole batch
    weights = [
        checkpoints.tensors(p.path("runs", name, "checkpoints", "step-000006"), "weights")
        for p in (project, finished)
    ]
    start = checkpoints.tensors(
        finished.path("runs", name, "checkpoints", "step-000003"), "weights"
    )
    # as a whole: Adam turns the rounding of a gradient that is zero (a key's bias) into a step of its own
    moved = sum(float((weights[1][k] - start[k]).square().sum()) for k in start) ** 0.5
    apart = sum(float((weights[0][k] - weights[1][k]).square().sum()) for k in start) ** 0.5
    assert apart < 0.05 * moved


def test_gradients_of_two_processes_equal_those_of_one(tmp_path, tiny_base):
    """float64, every objective: whole-batch loss with gather-with-gradient, averaged by DDP."""
    from pathlib import Path

    from safetensors.torch import load_file

    script = tmp_path / "gradients.py"
    script.write_text(GRADIENTS)
    env = {**os.environ, "OMP_NUM_THREADS": "1", "CHECKOUT": str(Path(__file__).parents[2])}
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    subprocess.run([sys.executable, script, tiny_base, one], check=True, env=env)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([*launch, script, tiny_base, two], check=True, env=env)
    ours, theirs = load_file(two), load_file(one)
    scale = max(float(gradient.abs().max()) for gradient in theirs.values())
    for name, gradient in theirs.items():
        assert float((ours[name] - gradient).abs().max()) < 1e-12 * scale, name


def test_a_change_that_cannot_change_the_weights_is_no_new_work(finished, recipe):
    aside = load_recipe(
        recipe.base, "train.preview_every=1", "train.checkpoint_every=2", "generate.guidance=9"
    )
    assert train(finished, aside)[0] == "001-fashion" and finished.runs() == ["001-fashion"]


def test_resume_refuses_what_changed_since_the_run_began(project, recipe, catalogue):
    from unidiff_cli import prepare

    with pytest.raises(Cut):
        train(project, recipe, on_step=cut_at(1))
    prepare(project, load_recipe(recipe.base, "prepare.seed=1"), catalogue)
    with pytest.raises(NotReady, match="The shards changed since run 001-fashion began"):
        train(project, recipe, resume=True)


def test_moments_come_back_in_the_layout_of_their_parameter(finished, recipe):
    """A GPU's fused AdamW refuses any other; convolutions here are channels_last."""
    from accelerate import Accelerator

    from unidiff_cli.models import loading
    from unidiff_cli.project import checkpoints
    from unidiff_cli.training.module import TrainingModule
    from unidiff_cli.training.trainer import Trainer

    base = loading.load_base(recipe.base, 32)
    fit = Trainer(Accelerator(cpu=True), TrainingModule(base, recipe.active(), 0), recipe.train)
    checkpoint = finished.path("runs", "001-fashion", "checkpoints", "step-000006")
    parts = ("weights", "averaged", "optimizer")
    fit.load({part: checkpoints.tensors(checkpoint, part) for part in parts}, 6)
    convolution = base.unet.conv_in.weight
    assert convolution.stride() != convolution.contiguous().stride()
    assert fit.optimizer.state[convolution]["exp_avg"].stride() == convolution.stride()


def test_gradient_checkpointing_changes_memory_and_not_the_loss(project, finished, recipe):
    name, _ = train(
        project, load_recipe(recipe.base, "train.gradient_checkpointing=true", "train.steps=2")
    )
    ours, theirs = losses(project, name), losses(finished, "001-fashion")
    assert ours[1] == pytest.approx(theirs[1], rel=1e-4)


def test_a_parameter_without_a_gradient_does_not_stop_a_resume(project, recipe):
    half = load_recipe(recipe.base, "objectives.denoise=null")  # the UNet's upper half is never run
    with pytest.raises(Cut):
        train(project, half, on_step=cut_at(4))
    name, _ = train(project, half, resume=True)
    assert sorted(losses(project, name)) == list(range(1, 7))


def test_the_temperature_stops_at_100_and_still_learns(tmp_path):
    import torch
    from accelerate import Accelerator

    from tests.support.base import write_base
    from tests.support.batches import batch_of
    from unidiff_cli.models import loading
    from unidiff_cli.training.module import TrainingModule
    from unidiff_cli.training.trainer import Trainer

    base = loading.load_base(str(write_base(tmp_path / "base")), 32)
    base.clip.logit_scale.data.fill_(4.7)
    recipe = load_recipe(tmp_path / "base", name="clip-only")
    fit = Trainer(Accelerator(cpu=True), TrainingModule(base, recipe.active(), 0), recipe.train)
    scale, top = base.clip.logit_scale, pytest.approx(math.log(100))
    assert float(scale.detach()) == top
    fit.module(batch_of(8))[0].backward()
    assert scale.grad.abs() > 0, "the loss at the bound still moves it"
    for gradient, kept in ((-1.0, top), (1.0, pytest.approx(math.log(100) - 0.1))):
        scale.grad.fill_(gradient)
        torch.optim.SGD([scale], 0.1).step()
        fit._bound_scale()
        assert float(scale.detach()) == kept


def test_a_run_without_duplicates_and_conflicts_is_another_run(project, finished, recipe):
    """Two options of the command, through the command's own loop: both change the weights, and both are logged."""
    both = {"train.no_duplicates": "true", "train.pcgrad": "true"}
    name, receipt = train(
        project, load_recipe(recipe.base, *(f"{k}={v}" for k, v in both.items()), "train.steps=2")
    )
    run = project.path("runs", name)
    lines = [line for line in run_log.read(run) if "loss" in line]
    assert [line["step"] for line in lines] == [1, 2] and receipt.counts["steps"] == 2
    assert all(math.isfinite(line["loss"]) and -1 <= line["gradient_cosine"] <= 1 for line in lines)
    kept = Receipt.read(run).settings["train"]
    assert kept["no_duplicates"] and kept["pcgrad"]
    assert losses(project, name)[1] != losses(finished, "001-fashion")[1], (
        "the same samples were drawn"
    )


@pytest.mark.parametrize("images", [0, 1])
def test_a_validation_split_too_small_to_measure_exports_the_last_weights(tmp_path, recipe, images):
    from tests.support.catalogue import write_catalogue
    from unidiff_cli import Project, export, prepare

    shop = write_catalogue(tmp_path / "shop", products=10, views=1)
    table = (shop / "catalog.csv").read_text().splitlines()
    splits = ["split", *["val"] * images, *["test"] * 2, *["train"] * (8 - images)]
    (shop / "catalog.csv").write_text(
        "\n".join(f"{a},{b}" for a, b in zip(table, splits, strict=False)) + "\n"
    )
    project = Project(tmp_path / "project")
    small = load_recipe(recipe.base, "train.batch_size=4", "prepare.splits=[0.8, 0, 0.2]")
    prepare(project, small, shop)
    name, receipt = train(project, small)
    assert receipt.counts["val"] == images and receipt.figures["best"] == {}
    assert export(project, name)[1].figures["step"] == small.train.steps
