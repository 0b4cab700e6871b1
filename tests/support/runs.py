"""Runs that end in the middle, what a run logged, and gradients of one and of two processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.projects import copy_project
from unidiff_cli import train
from unidiff_cli.project import run_log
from unidiff_cli.project.files import files_below


class Cut(Exception):
    """What ends a run in the middle."""


def cut_at(step):
    """An `on_step` that ends the run after a step."""

    def cut(line):
        if line["step"] == step:
            raise Cut

    return cut


def cut_project(prepared, folder, recipe, step):
    """A copy of a prepared project in a folder, whose run ended after a step."""
    project = copy_project(prepared, folder)
    with pytest.raises(Cut):
        train(project, recipe, on_step=cut_at(step))
    return project


def losses(project, run):
    """The loss of every step that a run logged."""
    return {
        line["step"]: line["loss"]
        for line in run_log.read(project.path("runs", run))
        if "loss" in line
    }


def outcome(project):
    """What the newest run came to: its losses, what it measured, and all bytes of checkpoints."""
    name = project.runs()[-1]
    run = project.path("runs", name)
    below = run / "checkpoints"
    lines = run_log.read(run)
    return {
        "losses": losses(project, name),
        "measured": [line for line in lines if "validation" in line or "collapse" in line],
        "finished": project.receipt("runs", name).counts,
        "files": {f.relative_to(below): f.read_bytes() for f in files_below(below)},
    }


def contrastive(project):
    """A term that every process has of the whole batch, of each step of the run 001-fashion."""
    lines = run_log.read(project.path("runs", "001-fashion"))
    return [line["contrastive"] for line in lines if "loss" in line]


def assert_resumes_exactly(project, folder, recipe, last, on_progress=None):
    """A run that ends after step `last` and is resumed logs the losses of a whole one; its name.

    The whole run is in `folder`, and `on_progress` is its.
    """
    whole = copy_project(project, folder / "whole")
    name, _ = train(whole, recipe, on_progress=on_progress)
    with pytest.raises(Cut):
        train(project, recipe, on_step=cut_at(last))
    train(project, recipe, resume=True)
    assert losses(project, name) == losses(whole, name)
    return name


# One process's part of a step in float64, through DDP where there are two. The arguments are a
# base, the file for the gradients, and the assignments of a recipe.
GRADIENTS = """
import sys, torch
from safetensors.torch import save_file
from tests.support.batches import batch_of, share_of, with_prior
from tests.support.gradients import moved_module, processes
folder, out, *assignments = sys.argv[1:]
world, rank = processes()
module = moved_module(folder, assignments)
batch = share_of(batch_of(8), rank, world)
if module.needs.prior:
    with_prior(batch, every=3)
wrapped = module
if world > 1:
    torch.distributed.init_process_group("gloo")
    assert torch.distributed.get_world_size() == 2
    wrapped = torch.nn.parallel.DistributedDataParallel(module)
wrapped(batch)[0].backward()
"""

# The same through the trainer, its chunks, sub-batch and PCGrad.
TRAINED = """
import sys
from accelerate import Accelerator
from safetensors.torch import save_file
from tests.support.batches import batch_of, share_of
from tests.support.projects import load_recipe
from unidiff_cli.data.order import subsample
from unidiff_cli.models.loading import load_base
from unidiff_cli.training.adapter import adapted
from unidiff_cli.training.module import TrainingModule
from unidiff_cli.training.optimizer import trained_parameters
from unidiff_cli.training.trainer import Trainer
folder, out, *assignments = sys.argv[1:]
accelerator = Accelerator(cpu=True)
rank = accelerator.process_index
recipe = load_recipe(folder, *assignments)
base = load_base(folder, 32)
adapters = adapted(base, recipe)
module = TrainingModule(base, recipe.active(), 0, recipe.train.chunk, adapters=adapters).double()
trainer = Trainer(accelerator, module, recipe.train)
trainer.wrapped.train()
# Of the second step, which may scale by what the first one measured.
for step in range(2):
    module.zero_grad(set_to_none=True)
    batch = share_of(batch_of(8, step), rank, accelerator.num_processes)
    batch.denoise_rows = subsample(batch.positions, 4, 8)
    batch.latents = batch.latents[batch.denoise_rows]
    trainer._backward(batch, list(trained_parameters(module).values()))
"""

# A step in float64, its weights in pieces where there are two processes, every term in it. The
# third argument names a recipe, and assignments follow it.
GRADIENTS_SHARDED = """
import sys
from accelerate import Accelerator
from safetensors.torch import save_file
from torch.distributed.tensor import DTensor
from tests.support.batches import batch_of, share_of, with_prior
from tests.support.gradients import moved_module
from tests.support.projects import load_recipe
from unidiff_cli.training.optimizer import trained_parameters
from unidiff_cli.training.trainer import Trainer
folder, out, name, *assignments = sys.argv[1:]
accelerator = Accelerator(cpu=True)
rank, world = accelerator.process_index, accelerator.num_processes
recipe = load_recipe(folder, "train.measure_gradients_every=0", *assignments, name=name)
module = moved_module(folder, (), recipe)
trainer = Trainer(accelerator, module, recipe.train)
trained = trained_parameters(module)
assert any(isinstance(p, DTensor) for p in trained.values()) is (world > 1)
batch = share_of(batch_of(8), rank, world)
if module.needs.prior:
    # The second process has none.
    with_prior(batch, every=3, below=4)
trainer.wrapped.train()
trainer._backward(batch, list(trained.values()))
"""

SAVE = """
import torch
from unidiff_cli.training.optimizer import trained_parameters
from unidiff_cli.training.sharding import whole
named = {k: p.grad for k, p in trained_parameters(module).items()}
gradients = {k: whole(g).contiguous() for k, g in named.items() if g is not None}
if rank == 0:
    save_file(gradients, out)
# A process that ends beside its own threads of gloo may be aborted.
if torch.distributed.is_initialized():
    torch.distributed.destroy_process_group()
"""

# The flags of accelerate launch for two processes.
TWO = ("--num_processes", "2")
# Those for weights in pieces, and the variables that it makes of them.
FSDP = ("--use_fsdp", "--fsdp_version", "2")
FSDP_VARIABLES = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}


def gradients_of_one_and_two(script, folder, base, *assignments, variables=None):
    """The gradients that a script leaves, by parameter: of one process, and of two.

    `variables` are for the environment of the two.
    """
    from safetensors.torch import load_file

    file = folder / "gradients.py"
    file.write_text(script + SAVE)
    root = str(Path(__file__).parents[2])
    paths = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    gradients = []
    for number, launcher in enumerate(([], launch)):
        out = folder / f"{number}.safetensors"
        command = [sys.executable, *launcher, str(file), str(base), str(out), *assignments]
        subprocess.run(command, check=True, env={**env, **((variables or {}) if number else {})})
        gradients.append(load_file(out))
    return gradients


def assert_equal_gradients(one, two):
    """Equal to 1e-12 of the largest, whatever the number of processes."""
    assert one.keys() == two.keys()
    scale = max(float(gradient.abs().max()) for gradient in one.values())
    for name, gradient in one.items():
        assert float((two[name] - gradient).abs().max()) < 1e-12 * scale, name
