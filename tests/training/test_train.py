"""The run: resumes exactly, stops whole, and two processes do what one does."""

import gc
import logging
import math
import weakref

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from tests.support.base import write_base
from tests.support.batches import batch_of
from tests.support.catalogue import write_catalogue
from tests.support.projects import copy_project, load_recipe
from tests.support.runs import (
    GRADIENTS,
    Cut,
    assert_equal_gradients,
    assert_resumes_exactly,
    cut_at,
    gradients_of_one_and_two,
    losses,
    outcome,
)
from unidiff_cli import Project, export, machine, prepare, train
from unidiff_cli.data.shards import Shards
from unidiff_cli.data.stored_rows import StoredRows
from unidiff_cli.errors import Damaged, NotReady, UsageError, WorkError
from unidiff_cli.models import loading
from unidiff_cli.objectives.denoise import Denoise
from unidiff_cli.project import checkpoints, run_log
from unidiff_cli.project.receipt import Receipt
from unidiff_cli.training.module import TrainingModule
from unidiff_cli.training.trainer import PARTS, Trainer


@pytest.fixture
def warnings(caplog, monkeypatch):
    """What the package's logger says."""
    monkeypatch.setattr(logging.getLogger("unidiff"), "propagate", True)
    caplog.set_level(logging.INFO, "unidiff")
    return caplog


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
    name, _ = train(finished, recipe)
    assert name == "001-fashion" and finished.runs() == ["001-fashion"]


def test_a_second_run_in_a_process_does_not_begin_with_the_first_ones_base(
    project, tiny_base, monkeypatch
):
    """accelerate leaves a base that trained in bf16 in a cycle, which Python leaves for later."""
    half = load_recipe(tiny_base, "train.precision=bf16", "train.steps=1")
    loaded, load, left = [], loading.load_recipe_base, []

    def watched(recipe):
        left.append([one for one in loaded if one() is not None])
        base = load(recipe)
        loaded.append(weakref.ref(base))
        return base

    monkeypatch.setattr(loading, "load_recipe_base", watched)
    gc.disable()
    try:
        for _ in range(2):
            train(project, half, force=True)
    finally:
        gc.enable()
    assert left == [[], []]


def test_the_base_is_hashed_once_and_the_shards_are_opened_once(project, recipe, monkeypatch):
    from unidiff_cli.training import provenance

    hashed, opened, files_hash, open_shards = [], [], provenance.files_hash, Shards.open
    monkeypatch.setattr(
        provenance, "files_hash", lambda base: (hashed.append(base), files_hash(base))[1]
    )
    monkeypatch.setattr(
        Shards,
        "open",
        lambda folder, **read: (opened.append(folder), open_shards(folder, **read))[1],
    )
    train(project, load_recipe(recipe.base, "train.steps=1"))
    assert len(hashed) == 1 and len(opened) == 1


def test_a_run_that_is_cut_and_resumed_equals_one_that_is_not(project, finished, recipe):
    """Bit for bit: losses of every step and the exported weights."""
    with pytest.raises(Cut):
        # After the checkpoint of step 3, before the one of step 6.
        train(project, recipe, on_step=cut_at(5))
    assert Receipt.read(project.path("runs", "001-fashion")) is None
    name, _ = train(project, recipe, resume=True)
    assert losses(project, name) == losses(finished, "001-fashion")
    for part in ("best", "step-000006"):
        resumed, whole = (
            p.path("runs", name, "checkpoints", part, "averaged.safetensors")
            for p in (project, finished)
        )
        assert resumed.read_bytes() == whole.read_bytes()


def test_a_run_resumed_where_auto_is_another_precision_says_so(
    project, tiny_base, monkeypatch, caplog
):
    caplog.set_level("INFO", "unidiff")
    monkeypatch.setattr(machine, "bf16_supported", lambda: False)
    asked = load_recipe(tiny_base, "train.precision=auto", name="clip-only")
    with pytest.raises(Cut):
        train(project, asked, on_step=cut_at(2))
    assert "precision fp32: train.precision is auto." in caplog.messages
    monkeypatch.setattr(machine, "bf16_supported", lambda: True)
    train(project, asked, resume=True)
    assert (
        "Run 001-clip-only began in fp32. Its train.precision is auto, and this machine goes on in "
        "bf16." in caplog.messages
    )


@pytest.mark.parametrize(
    "schedule",
    [
        "linear",
        *(pytest.param(s, marks=pytest.mark.slow) for s in ("constant_with_warmup", "polynomial")),
    ],
)
def test_a_run_of_another_schedule_resumes_exactly(project, tmp_path, recipe, schedule):
    asked = load_recipe(recipe.base, f"train.schedule={schedule}", name="clip-only")
    assert_resumes_exactly(project, tmp_path, asked, last=5)


def test_a_run_cut_before_its_first_line_has_that_line_once_it_is_resumed(
    project, finished, recipe, monkeypatch
):
    """The base was measured, and its meters stood on the disk but not yet in the log."""
    with monkeypatch.context() as patch:
        patch.setattr(run_log, "append", lambda *_, **__: (_ for _ in ()).throw(Cut))
        with pytest.raises(Cut):
            train(project, recipe)
    assert project.path("runs", "001-fashion", "checkpoints", "base").is_dir()
    train(project, recipe, resume=True)
    assert outcome(project)["measured"] == outcome(finished)["measured"]


def test_resume_without_a_checkpoint_starts_over_and_says_so(project, recipe, warnings):
    with pytest.raises(Cut):
        train(project, recipe, on_step=cut_at(1))
    train(project, recipe, resume=True)
    assert "starts over" in warnings.text
    assert sorted(losses(project, "001-fashion")) == list(range(1, 7))


def test_a_damaged_checkpoint_is_passed_over(project, recipe, warnings):
    with pytest.raises(Cut):
        train(project, load_recipe(recipe.base, "train.checkpoint_every=2"), on_step=cut_at(6))
    newest = project.path("runs", "001-fashion", "checkpoints", "step-000004")
    data = bytearray((newest / "weights.safetensors").read_bytes())
    data[len(data) // 2] ^= 1
    (newest / "weights.safetensors").write_bytes(data)
    train(project, recipe, resume=True)
    assert "step-000004" in warnings.text and "goes on from step 2" in warnings.text


def test_resume_without_any_run(project, recipe):
    with pytest.raises(NotReady, match="no run to resume"):
        train(project, recipe, resume=True)


def test_train_before_prepare_names_the_command(tmp_path, recipe):
    with pytest.raises(NotReady, match="unidiff prepare"):
        train(Project(tmp_path / "empty"), recipe)


def test_recall_cannot_judge_a_run_that_trains_no_retrieval(project, recipe):
    asked = load_recipe(recipe.base, "train.best_by=recall", name="sd-only")
    with pytest.raises(UsageError, match="no objective trains retrieval"):
        train(project, asked)


def test_a_loss_that_is_no_number_stops_and_changes_nothing(project, recipe, monkeypatch):
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


def test_frozen_image_embeddings_are_cached_and_the_same(project, prepared, tmp_path, recipe):
    """relational+anchor holds no second CLIP where images are cached, and trains as with one."""
    anchored = "objectives.consistency.kind=relational+anchor"
    name, _ = train(project, load_recipe(recipe.base, anchored))
    (folder,) = project.path("cache", "rows").glob("frozen_image_embeds-*")
    rows = Shards.open(project.path("shards")).rows("train")
    embeds = StoredRows.of(folder, [row.content for row in rows]).take(range(len(rows)))
    assert np.allclose(np.linalg.norm(embeds, axis=1), 1, atol=1e-5)
    other = copy_project(prepared, tmp_path / "other")
    again, _ = train(other, load_recipe(recipe.base, anchored, "train.cache_latents=false"))
    cached, computed = (
        run_log.read(p.path("runs", n))[1:4] for p, n in ((project, name), (other, again))
    )
    for line, expected in zip(cached, computed, strict=True):
        assert line["consistency"] == pytest.approx(expected["consistency"], rel=5e-3)


@pytest.mark.slow
def test_images_decoded_on_the_fly_train_like_cached_ones(project, finished, recipe):
    on_the_fly = load_recipe(recipe.base, "train.cache_latents=false", "train.workers=1")
    name, _ = train(project, on_the_fly)
    decoded, cached = losses(project, name), losses(finished, "001-fashion")
    # What `prepare` keeps of images lies there.
    assert not project.path("cache", "rows").exists()
    # The cache keeps latents in half precision.
    assert decoded[1] == pytest.approx(cached[1], rel=2e-3)


@pytest.mark.slow
def test_two_processes_do_the_work_of_one(project, finished, recipe):
    """World size asserted inside `work`; the whole batch's loss and the trained weights agree."""
    name, _ = train(project, load_recipe(recipe.base, "train.processes=2"))
    assert sorted(losses(project, name)) == sorted(losses(finished, "001-fashion"))
    contrastive = [
        [line["contrastive"] for line in run_log.read(p.path("runs", name)) if "loss" in line]
        for p in (project, finished)
    ]
    # An in-batch term: both hold the whole batch.
    assert contrastive[0] == pytest.approx(contrastive[1], rel=1e-3)

    def weights(p, step):
        checkpoint = p.path("runs", name, "checkpoints", f"step-{step:06d}")
        return checkpoints.tensors(checkpoint, "weights")

    start, one, two = weights(finished, 3), weights(finished, 6), weights(project, 6)
    # As a whole: Adam turns the rounding of a gradient that is zero (a key's bias) into a step of
    # its own.
    moved = sum(float((one[k] - start[k]).square().sum()) for k in start) ** 0.5
    distance = sum(float((two[k] - one[k]).square().sum()) for k in start) ** 0.5
    assert distance < 0.05 * moved


@pytest.mark.slow
@pytest.mark.parametrize("name", ["diffdis", "clip-only", "sd-only"])
def test_two_processes_train_every_shipped_recipe(project, recipe, name):
    """Without a search for parameters that have no gradient DDP would stop at the second step."""
    asked = load_recipe(recipe.base, "train.processes=2", "train.steps=3", name=name)
    run, _ = train(project, asked)
    assert sorted(losses(project, run)) == [1, 2, 3]


def test_gradients_of_two_processes_equal_those_of_one(tmp_path, tiny_base):
    """float64, every objective: whole-batch loss with gather-with-gradient, averaged by DDP."""
    assert_equal_gradients(*gradients_of_one_and_two(GRADIENTS, tmp_path, tiny_base))


def test_a_change_that_cannot_change_the_weights_is_no_new_work(finished, recipe):
    aside = load_recipe(
        recipe.base, "train.preview_every=1", "train.checkpoint_every=2", "generate.guidance=9"
    )
    assert train(finished, aside)[0] == "001-fashion" and finished.runs() == ["001-fashion"]


def test_resume_refuses_what_changed_since_the_run_began(project, recipe, catalogue):
    with pytest.raises(Cut):
        train(project, recipe, on_step=cut_at(1))
    prepare(project, load_recipe(recipe.base, "prepare.seed=1"), catalogue)
    with pytest.raises(NotReady, match="The shards changed since run 001-fashion began"):
        train(project, recipe, resume=True)


def test_moments_come_back_in_the_layout_of_their_parameter(finished, recipe):
    """A GPU's fused AdamW refuses any other; convolutions here are channels_last."""
    base = loading.load_base(recipe.base, 32)
    module = TrainingModule(base, recipe.active(), 0)
    trainer = Trainer(Accelerator(cpu=True), module, recipe.train)
    checkpoint = finished.path("runs", "001-fashion", "checkpoints", "step-000006")
    trainer.load({part: checkpoints.tensors(checkpoint, part) for part in PARTS}, 6)
    convolution = base.unet.conv_in.weight
    assert convolution.stride() != convolution.contiguous().stride()
    moments = trainer.optimizer.state[convolution]["exp_avg"]
    assert moments.stride() == convolution.stride()


def test_gradient_checkpointing_changes_memory_and_not_the_loss(project, finished, recipe):
    options = ("train.gradient_checkpointing=true", "train.steps=2")
    name, _ = train(project, load_recipe(recipe.base, *options))
    plain = losses(finished, "001-fashion")
    assert losses(project, name)[1] == pytest.approx(plain[1], rel=1e-4)


def test_a_parameter_without_a_gradient_does_not_stop_a_resume(project, recipe):
    # The upper half of the denoiser is never run.
    half = load_recipe(recipe.base, "objectives.denoise=null")
    with pytest.raises(Cut):
        train(project, half, on_step=cut_at(4))
    name, _ = train(project, half, resume=True)
    assert sorted(losses(project, name)) == list(range(1, 7))


def test_the_temperature_stops_at_100_and_still_learns(tmp_path):
    base = loading.load_base(str(write_base(tmp_path / "base")), 32)
    base.logit_scale.data.fill_(4.7)
    recipe = load_recipe(tmp_path / "base", name="clip-only")
    module = TrainingModule(base, recipe.active(), 0)
    trainer = Trainer(Accelerator(cpu=True), module, recipe.train)
    scale, top = base.logit_scale, pytest.approx(math.log(100))
    assert float(scale.detach()) == top
    module(batch_of(8))[0].backward()
    assert scale.grad.abs() > 0, "the loss at the bound still moves it"
    for gradient, expected in ((-1.0, top), (1.0, pytest.approx(math.log(100) - 0.1))):
        scale.grad.fill_(gradient)
        torch.optim.SGD([scale], 0.1).step()
        trainer._bound_scales()
        assert float(scale.detach()) == expected


def test_a_run_without_duplicates_and_conflicts_is_another_run(project, finished, recipe):
    """Two options of the command, through the command's own loop: both change the weights."""
    options = ("train.no_duplicates=true", "train.pcgrad=true", "train.steps=2")
    name, receipt = train(project, load_recipe(recipe.base, *options))
    run = project.path("runs", name)
    lines = [line for line in run_log.read(run) if "loss" in line]
    assert [line["step"] for line in lines] == [1, 2] and receipt.counts["steps"] == 2
    assert all(math.isfinite(line["loss"]) for line in lines)
    assert all(-1 <= line["gradient_cosine"] <= 1 for line in lines)
    settings = Receipt.read(run).settings["train"]
    assert settings["no_duplicates"] and settings["pcgrad"]
    other = losses(finished, "001-fashion")
    assert losses(project, name)[1] != other[1], "the same samples were taken"


@pytest.mark.parametrize("images", [0, 1])
def test_a_validation_split_too_small_to_measure_exports_the_last_weights(tmp_path, recipe, images):
    table = write_catalogue(tmp_path / "shop", products=10, views=1) / "catalog.csv"
    splits = ["split", *["val"] * images, *["test"] * 2, *["train"] * (8 - images)]
    rows = zip(table.read_text().splitlines(), splits, strict=False)
    table.write_text("\n".join(f"{row},{split}" for row, split in rows) + "\n")
    project = Project(tmp_path / "project")
    small = load_recipe(recipe.base, "train.batch_size=4", "prepare.splits=[0.8, 0, 0.2]")
    prepare(project, small, tmp_path / "shop")
    name, receipt = train(project, small)
    assert receipt.counts["val"] == images and receipt.figures["best"] == {}
    assert export(project, name)[1].figures["step"] == small.train.steps


def test_a_run_has_a_page_that_says_how_it_ended(finished):
    page = finished.path("runs", "001-fashion", "report.html").read_text()
    assert "Finished after 6 steps." in page and "<svg" in page and "data:image" in page


def test_early_stopping_ends_a_run_whole(project, recipe, warnings, monkeypatch):
    from unidiff_cli.training import run

    # No validation after the first is better.
    monkeypatch.setattr(run, "is_better", lambda recipe, figures, best, count: not best.step)
    asked = load_recipe(recipe.base, "train.steps=40", "train.validate_every=1", "train.patience=1")
    name, receipt = train(project, asked)
    assert receipt.counts["steps"] == 2 and receipt.figures["best"]["step"] == 1
    assert "1 validation brought no better weights" in warnings.text
    folder = project.path("runs", name)
    assert "Ended early at step 2 of 40" in (folder / "report.html").read_text()
    # It is finished: neither a resume nor the same work again trains on.
    assert train(project, recipe, resume=True) == train(project, asked)
    assert max(losses(project, name)) == 2


@pytest.mark.slow
def test_a_run_that_ended_early_before_its_receipt_does_not_go_on(project, recipe, monkeypatch):
    from unidiff_cli.training import run

    monkeypatch.setattr(run, "is_better", lambda recipe, figures, best, count: not best.step)
    asked = load_recipe(recipe.base, "train.steps=40", "train.validate_every=1", "train.patience=3")
    name, _ = train(project, asked)
    (project.path("runs", name) / "receipt.json").unlink()
    _, receipt = train(project, asked, resume=True)
    assert receipt.counts["steps"] == 4


def test_patience_waits_for_something(recipe):
    with pytest.raises(UsageError, match="better weights"):
        load_recipe(recipe.base, "train.patience=3", "train.best_by=last")


def test_checkpoints_whose_states_are_gone_are_no_fresh_start(project, recipe):
    asked = load_recipe(recipe.base, "train.checkpoint_every=1")
    with pytest.raises(Cut):
        train(project, asked, on_step=cut_at(2))
    run = project.path("runs", "001-fashion")
    for state in run.glob("checkpoints/step-*/state.json"):
        state.unlink()
    log = (run / "log.jsonl").read_bytes()
    with pytest.raises(Damaged, match="All checkpoints of run 001-fashion"):
        train(project, recipe, resume=True)
    assert (run / "log.jsonl").read_bytes() == log
