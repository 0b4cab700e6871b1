"""What a run takes, estimated from configs, against what its tensors and its process took."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from tests.support.projects import load_recipe, load_whole_recipe
from unidiff_cli import machine
from unidiff_cli.models import loading
from unidiff_cli.training.assembly import trainer_of
from unidiff_cli.training.example_batches import batches_in_pairs, batches_of, filled
from unidiff_cli.training.footprint import OUTSIDE, footprint
from unidiff_cli.training.precision import accelerator_of
from unidiff_cli.training.tensor_memory import TensorMemory


def real_memory(recipe, batches):
    """The bytes and operations of the same steps with real tensors."""
    base, options = loading.load_base(recipe.base, recipe.image_size), recipe.train
    memory = TensorMemory()
    memory.hold([*base.parameters(), *base.buffers()])
    with accelerator_of(options) as accelerator, memory:
        trainer = trainer_of(accelerator, base, recipe)
        # Of the steps alone: adapters of DoRA multiply when they are made.
        memory.flops = 0
        for batch in batches(base):
            for _ in trainer.steps(iter([filled(batch, base, recipe)])):
                pass
        files = sum(
            x.numel() * x.element_size()
            for part in trainer.tensors().values()
            for x in part.values()
        )
        # But for the number of steps, which each parameter has.
        assert files == pytest.approx(trainer.checkpoint_bytes, rel=1e-3)
    return memory, files


@pytest.mark.parametrize(
    ("base", "name", "assignments"),
    [
        ("sd1", "joint", ("train.precision=bf16", "train.ema=0", "train.pcgrad=true")),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("sd2", "fashion-lora", ()),
                ("sdxl second", "fashion-lora", ("train.lora.dora=true",)),
                ("sd1 apart", "fashion-lora", ("train.lora.towers=[denoiser]",)),
                ("sdxl first", "fashion", ()),
                (
                    "sd1",
                    "fashion",
                    ("train.batch_size=32", "train.chunk=8", "train.denoise_batch=16"),
                ),
                (
                    "sd1",
                    "product",
                    ("objectives.consistency.kind=decoded", "train.optimizer=adafactor"),
                ),
                (
                    "sd1",
                    "product",
                    ("objectives.consistency.prompt=caption", "train.gradient_checkpointing=true"),
                ),
                ("sd1", "diffdis", ("train.gradient_checkpointing=true",)),
            )
        ),
    ],
)
def test_the_estimate_is_what_the_tensors_of_a_step_take(tiny_bases, base, name, assignments):
    recipe = load_whole_recipe(tiny_bases(base), *assignments, name=name)
    batches = batches_in_pairs(recipe)
    takes = footprint(recipe, batches)
    memory, files = real_memory(recipe, batches)
    assert takes.step == pytest.approx(memory.peak, rel=0.03)
    assert takes.checkpoint == files
    assert takes.flops == pytest.approx(memory.flops / 2, rel=0.01)


@pytest.mark.slow
def test_no_weight_is_read_for_an_estimate(tiny_base, tmp_path, prepared):
    folder = shutil.copytree(tiny_base, tmp_path / "base")
    for file in folder.rglob("*.safetensors"):
        file.unlink()
    recipe = load_recipe(folder)
    takes = footprint(recipe, batches_of(prepared, recipe))
    assert takes == footprint(load_recipe(tiny_base), batches_of(prepared, recipe))
    parameters = sum(count for count, _ in takes.parameters.values())
    assert takes.memory["gradients"] == 4 * parameters
    assert takes.memory["optimiser"] == pytest.approx(8 * parameters, rel=0.01)


@pytest.mark.slow
def test_adapters_take_what_they_are_and_the_weights_nothing(tiny_base):
    recipe = load_whole_recipe(tiny_base, name="fashion-lora")
    takes = footprint(recipe, batches_in_pairs(recipe))
    trained = sum(count for _, count in takes.parameters.values())
    assert 0 < trained < sum(count for count, _ in takes.parameters.values()) / 2
    assert takes.memory["gradients"] == takes.memory["averages"] == 4 * trained
    assert takes.memory["optimiser"] == pytest.approx(8 * trained, rel=0.01)


@pytest.mark.slow
def test_what_trains_and_how_decides_what_it_takes(tiny_base):
    def of(*assignments):
        recipe = load_recipe(tiny_base, *assignments)
        return footprint(recipe, batches_in_pairs(recipe)).memory

    whole, frozen = of(), of("train.trains=[vision]")
    assert frozen["gradients"] < whole["gradients"] and frozen["weights"] == whole["weights"]
    assert of("train.optimizer=adafactor")["optimiser"] < whole["optimiser"] / 3
    in_8_bits = of("train.optimizer=adamw8bit")
    # Small parameters keep all of theirs.
    assert whole["optimiser"] / 4 < in_8_bits["optimiser"] < 0.6 * whole["optimiser"]
    assert in_8_bits["activations"] == whole["activations"]
    assert of("train.ema=0")["averages"] == 0
    assert of("train.gradient_checkpointing=true")["activations"] < whole["activations"]
    assert of("train.batch_size=16")["activations"] > whole["activations"]


def test_the_estimate_of_a_step_is_the_same_where_there_is_a_gpu(monkeypatch, tiny_base):
    """It failed there: tensors without memory lay on two devices.

    But before the first step a GPU never holds the denoiser's weights in fp32, and its attention is
    not in fp32.
    """
    recipe = load_whole_recipe(tiny_base, "train.precision=bf16", name="fashion-lora")
    batches = batches_in_pairs(recipe)
    takes = footprint(recipe, batches)

    def seen_by_us():
        return sys._getframe(1).f_globals["__name__"] == machine.__name__

    monkeypatch.setattr(torch.cuda, "is_available", seen_by_us)
    assert machine.device().type == "cuda"
    there = footprint(recipe, batches)
    assert replace(there, memory=takes.memory) == takes
    differ = {key for key, size in there.memory.items() if size != takes.memory[key]}
    assert "activations" in differ <= {"activations", OUTSIDE}
    assert there.step < takes.step and there.peak < takes.peak
    assert machine.device().type == "cuda"
    beside = load_whole_recipe(
        tiny_base, "train.precision=bf16", "train.ema_on=cpu", name="fashion-lora"
    )
    assert footprint(beside, batches).memory == {**there.memory, "averages": 0}


# ---------------------------------------------------------------- the process

# Prints the estimated and the measured bytes of two steps, and of the process before.
PROBE = """
import json, sys
from unidiff_cli import machine
from unidiff_cli.models.sources import load_recipe
from unidiff_cli.training.assembly import trainer_of
from unidiff_cli.training.example_batches import batches_in_pairs
from unidiff_cli.training.footprint import footprint
from unidiff_cli.training.probe import probe
name, *assignments = sys.argv[1:]
recipe = load_recipe(name, assignments=assignments)
batches = batches_in_pairs(recipe)
takes = footprint(recipe, batches)
probed = probe(recipe, batches)
print(json.dumps([takes.step, probed.before, probed.peak, probed.seconds]))
"""


def probed(*arguments, threads="1"):
    """The estimated bytes of tensors, and the measured ones before and at the peak."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": threads},
    )
    assert done.returncode == 0, done.stderr
    print(arguments, done.stdout)
    return json.loads(done.stdout.splitlines()[-1])[:3]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fashion", "clip-only", "sd-only"])
def test_the_estimate_for_nano_is_near_what_its_process_takes(name):
    estimate, before, peak = probed(name, "base=nano")
    assert before + estimate == pytest.approx(peak, rel=0.15)
    # The gaps of the allocator differ from run to run: 23.5 and 25.2 % of `sd-only`.
    assert estimate == pytest.approx(peak - before, rel=0.3)
