"""Weights in pieces over processes (FSDP2): the gradients, runs and checkpoints of whole ones."""

import os
import subprocess
import sys

import pytest

from tests.support.projects import copy_project, load_recipe
from tests.support.runs import (
    FSDP,
    FSDP_VARIABLES,
    GRADIENTS_SHARDED,
    TWO,
    Cut,
    assert_equal_gradients,
    contrastive,
    cut_at,
    gradients_of_one_and_two,
    losses,
)
from unidiff_cli import train
from unidiff_cli.errors import UsageError
from unidiff_cli.project import checkpoints
from unidiff_cli.training import sharding

LORA = ("train.lora.rank=4", "objectives.anchor.weight=1", "train.lora.vision.rank=3")
# Two processes, of which the second does not use one layer, and none uses another.
UNLIKE = """
import torch
from accelerate import PartialState
from torch import nn
from unidiff_cli.training.sharding import Pieces, whole
PartialState(cpu=True)
rank = torch.distributed.get_rank()

class Layers(nn.Module):
    def __init__(self):
        super().__init__()
        self.both, self.first, self.nobody = (nn.Linear(3, 3, bias=False) for _ in range(3))
        self.frozen = nn.Linear(3, 3).requires_grad_(False)
    def forward(self, x):
        return self.first(self.both(x)) if rank == 0 else self.frozen(self.both(x))

torch.manual_seed(0)
module = Layers()
pieces = Pieces(module, [dict(params=[p for p in module.parameters() if p.requires_grad])])
for _ in range(2):
    module.zero_grad()
    module(torch.ones(1, 3)).sum().backward()
    pieces.finish_gradients()
gradients = {name: p.grad for name, p in module.named_parameters()}
first = whole(gradients["first.weight"])
assert whole(gradients["both.weight"]) is not None and gradients["nobody.weight"] is None
assert gradients["frozen.weight"] is None
if rank == 0:
    torch.manual_seed(0)
    alone = Layers()
    alone(torch.ones(1, 3)).sum().backward()
    torch.testing.assert_close(first, alone.first.weight.grad / 2)
# A process that ends beside its own threads of gloo may be aborted.
PartialState().destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "asked",
    [
        ["fashion", "train.chunk=2"],
        ["diffdis"],
        ["fashion", *LORA],
        ["fashion", *LORA, "train.lora.dora=true"],
        ["joint", "train.last_layers.vision=1", "train.last_layers.text=1"],
    ],
)
def test_gradients_of_weights_in_pieces_equal_those_of_one_process(tmp_path, tiny_base, asked):
    """float64, FSDP2 over gloo."""
    gradients = gradients_of_one_and_two(
        GRADIENTS_SHARDED, tmp_path, tiny_base, *asked, variables=FSDP_VARIABLES
    )
    assert_equal_gradients(*gradients)


@pytest.mark.slow
def test_processes_may_reach_other_weights(tmp_path):
    """A gradient that one process lacks counts as zero; one that all lack is none."""
    script = tmp_path / "unlike.py"
    script.write_text(UNLIKE)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [sys.executable, *launcher, str(script)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("flags", [(), FSDP])
def test_a_run_of_two_processes_goes_on_in_one_and_in_four(project, finished, recipe, flags, count):
    """By DDP and by FSDP2: saved at 2, resumed at 1 and 4, the losses of a run of one."""
    with pytest.raises(Cut):
        train(project, recipe, flags=[*TWO, *flags], on_step=cut_at(5))
    run = project.path("runs", "001-fashion", "checkpoints")
    assert [each.name for each in checkpoints.committed(run)] == ["step-000003"]
    again = ["--num_processes", str(count), *(flags if count > 1 else ())]
    name, _ = train(project, recipe, resume=True, flags=again)
    assert name == "001-fashion"
    assert contrastive(project) == pytest.approx(contrastive(finished), rel=1e-3)
    for group in ("weights", "averaged", "optimizer", "heads"):
        kept = checkpoints.tensors(run / "step-000006", group)
        whole = finished.path("runs", "001-fashion", "checkpoints", "step-000006")
        expected = checkpoints.tensors(whole, group)
        assert {k: v.shape for k, v in kept.items()} == {k: v.shape for k, v in expected.items()}


@pytest.mark.slow
def test_a_run_in_pieces_ends_with_the_files_of_any_other(project, recipe):
    name, receipt = train(project, recipe, flags=[*TWO, *FSDP])
    assert receipt.counts["steps"] == 6 and receipt.figures["best"]["step"]
    assert list(project.path("runs", name).glob("previews/*.png"))
    assert sorted(losses(project, name)) == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), FSDP])
def test_two_processes_hold_what_does_not_train_in_half_precision(
    project, tmp_path, tiny_base, flags
):
    recipe = load_recipe(tiny_base, *LORA, "train.precision=bf16", "train.steps=3")
    alone = copy_project(project, tmp_path / "alone")
    train(alone, recipe, flags=["--num_processes", "1"])
    train(project, recipe, flags=[*TWO, *flags])
    assert contrastive(project) == pytest.approx(contrastive(alone), rel=0.02)


def test_what_needs_gradients_in_one_piece_is_refused(tiny_base, monkeypatch):
    monkeypatch.setenv("FSDP_VERSION", "2")
    options = load_recipe(tiny_base, "train.pcgrad=true").train
    with pytest.raises(UsageError, match="train.pcgrad takes gradients apart"):
        sharding.refuse(options)
    plain = load_recipe(tiny_base).train
    with pytest.raises(UsageError, match="fp16 is not trained with FSDP"):
        sharding.refuse(plain.model_copy(update={"precision": "fp16"}))
    monkeypatch.setenv("FSDP_VERSION", "1")
    with pytest.raises(UsageError, match="Only version 2"):
        sharding.refuse(plain)
