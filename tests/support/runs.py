"""Runs that end in the middle, and what a run logged."""

from unidiff_cli.project import run_log


class Cut(Exception):
    """What ends a run in the middle."""


def cut_at(step):
    """An `on_step` that ends the run after a step."""

    def cut(line):
        if line["step"] == step:
            raise Cut

    return cut


def losses(project, run):
    return {
        line["step"]: line["loss"]
        for line in run_log.read(project.path("runs", run))
        if "loss" in line
    }


GRADIENTS = """
import os, sys, torch
sys.path.insert(0, os.environ["CHECKOUT"])
from tests.conftest import copy_project, load_recipe
from tests.support.batches import batch_of
from unidiff_cli import bases
from unidiff_cli.fit import Joint, freeze, trained
world, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
recipe = load_recipe(sys.argv[1])
base = bases.load(sys.argv[1], 32)
joint = Joint(base, recipe.active(), 0).double().train()
freeze(joint, recipe.train)
base.tokenizer  # token ids stay integers
batch = batch_of(8)
share = 8 // world
mine = slice(rank * share, (rank + 1) * share)
for name in ("positions", "captions", "caption_ids", "group_ids", "clip_pixels", "latents"):
    setattr(batch, name, getattr(batch, name)[mine])
module = joint
if world > 1:
    torch.distributed.init_process_group("gloo")
    assert torch.distributed.get_world_size() == 2
    module = torch.nn.parallel.DistributedDataParallel(joint)
module(batch)[0].backward()
if rank == 0:
    from safetensors.torch import save_file
    save_file({k: p.grad.contiguous() for k, p in trained(joint).items()}, sys.argv[2])
"""
