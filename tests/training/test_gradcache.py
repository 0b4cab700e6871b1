"""GradCache and the sub-batch: the whole batch's gradients from chunks, and the UNet sees only its rows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.batches import batch_of
from tests.support.projects import load_recipe
from tests.support.runs import losses
from unidiff_cli import train
from unidiff_cli.data.order import subsample
from unidiff_cli.errors import RecipeError
from unidiff_cli.models import loading
from unidiff_cli.training.module import TrainingModule
from unidiff_cli.training.optimizer import parameter_groups, trained_parameters


def some_of(batch, drawn):
    """The batch as `Samples` loads it where the UNet sees only some rows."""
    batch.denoise_rows, batch.latents = drawn, batch.latents[drawn]
    return batch


def gradients(tiny_base, chunk, drawn=None, name="fashion", *assignments):
    recipe = load_recipe(tiny_base, *assignments, name=name)
    joint = (
        TrainingModule(loading.load_base(str(tiny_base), 32), recipe.active(), 0, chunk)
        .double()
        .train()
    )
    parameter_groups(joint, recipe.train)
    total, parts = joint(batch_of(10) if drawn is None else some_of(batch_of(10), drawn))
    total.backward()
    return parts, {n: p.grad for n, p in trained_parameters(joint).items()}


@pytest.mark.parametrize("name", ["fashion", "joint", "clip-only"])
@pytest.mark.parametrize("drawn", [None, [1, 4, 9]])
def test_chunks_give_the_gradients_of_the_whole_batch(tiny_base, name, drawn):
    """float64; chunks of 3 of 10 rows; the anchor's frozen copy too."""
    anchored = "objectives.anchor.weight=1"
    parts, whole = gradients(tiny_base, 0, drawn, name, anchored)
    again, chunked = gradients(tiny_base, 3, drawn, name, anchored)
    for key, value in parts.items():
        assert float(again[key]) == pytest.approx(float(value), rel=1e-12, abs=1e-14), key
    scale = max(float(g.abs().max()) for g in whole.values() if g is not None)
    for key, gradient in whole.items():
        assert (gradient is None) == (chunked[key] is None), key
        if gradient is not None:
            assert float((chunked[key] - gradient).abs().max()) < 1e-12 * scale, key


def test_a_sub_batch_is_those_samples_with_their_own_noise(tiny_base):
    """Denoise over some rows equals a batch of these rows alone; contrastive is still over all."""
    parts, _ = gradients(tiny_base, 0, [1, 4, 9])
    whole, _ = gradients(tiny_base, 0)
    assert parts["contrastive"] == whole["contrastive"]
    recipe = load_recipe(tiny_base)
    joint = (
        TrainingModule(loading.load_base(str(tiny_base), 32), recipe.active(), 0).double().train()
    )
    alone = some_of(batch_of(10), [1, 4, 9])
    for key in ("positions", "captions", "clip_pixels", "caption_ids", "group_ids"):
        value = getattr(alone, key)
        setattr(
            alone,
            key,
            [value[i] for i in alone.denoise_rows]
            if isinstance(value, list)
            else value[alone.denoise_rows],
        )
    alone.denoise_rows = None
    for key in ("denoise", "consistency"):
        assert float(joint(alone)[1][key]) == pytest.approx(float(parts[key]), rel=1e-12)


def test_no_tower_holds_more_than_a_chunk(tiny_base, monkeypatch):
    base = loading.load_base(str(tiny_base), 32)
    seen = []
    for name in ("image", "text"):
        whole = getattr(base, name)
        monkeypatch.setattr(base, name, lambda x, _whole=whole: (seen.append(len(x)), _whole(x))[1])
    recipe = load_recipe(tiny_base)
    joint = TrainingModule(base, recipe.active(), 0, chunk=4).train()
    parameter_groups(joint, recipe.train)
    total = joint(batch_of(10))[0]
    assert max(seen) == 4 and sum(seen) == 10 + 11
    total.backward()
    assert max(seen) == 4 and sum(seen) == 2 * (10 + 11)  # each row once more


def test_any_number_of_processes_draws_the_same_samples():
    whole = [p for i, p in enumerate(range(24, 36)) if i in subsample(range(24, 36), 4, 12)]
    parts = [range(24, 30), range(30, 36)]
    assert [part[i] for part in parts for i in subsample(part, 4, 12)] == whole
    assert [len(subsample(part, 4, 12)) for part in parts] == [2, 2]
    assert subsample(range(5), 5, 5) == [0, 1, 2, 3, 4]


def test_a_run_with_chunks_and_a_sub_batch(project, finished, recipe):
    options = ("train.chunk=3", "train.denoise_batch=4", "train.steps=2")
    name, _ = train(project, load_recipe(recipe.base, *options))
    assert sorted(losses(project, name)) == [1, 2]


def test_a_sub_batch_larger_than_the_batch_is_refused(tiny_base):
    with pytest.raises(RecipeError, match="denoise_batch"):
        load_recipe(tiny_base, "train.batch_size=8", "train.denoise_batch=9")


TWO = """
import os, sys, torch
sys.path.insert(0, os.environ["CHECKOUT"])
from accelerate import Accelerator
from tests.support.projects import load_recipe
from tests.support.batches import batch_of
from unidiff_cli import bases
from unidiff_cli.data.order import subsample
from unidiff_cli.fit import Fit, Joint, trained
folder, out, pcgrad = sys.argv[1:4]
accelerator = Accelerator(cpu=True)
world, rank = accelerator.num_processes, accelerator.process_index
options = load_recipe(folder, "train.chunk=3", f"train.pcgrad={pcgrad}", "train.gradient_cosine_every=0")
joint = Joint(bases.load(folder, 32), options.active(), 0, options.train.chunk).double()
fit = Fit(accelerator, joint, options.train)
batch = batch_of(8)
mine = slice(rank * 8 // world, (rank + 1) * 8 // world)
for name in ("positions", "captions", "caption_ids", "group_ids", "clip_pixels", "latents"):
    setattr(batch, name, getattr(batch, name)[mine])
batch.denoise_rows = subsample(batch.positions, 4, 8)
batch.latents = batch.latents[batch.denoise_rows]
fit.joint.train()
fit._backward(batch, list(trained(joint).values()))
if rank == 0:
    from safetensors.torch import save_file
    save_file({k: p.grad.contiguous() for k, p in trained(joint).items()}, out)
"""


@pytest.mark.parametrize("pcgrad", ["false", "true"])
def test_two_processes_with_chunks_a_sub_batch_and_pcgrad_equal_one(tmp_path, tiny_base, pcgrad):
    """float64, through accelerate's DDP or, with PCGrad, past it."""
    from safetensors.torch import load_file

    script = tmp_path / "two.py"
    script.write_text(TWO)
    env = {**os.environ, "OMP_NUM_THREADS": "1", "CHECKOUT": str(Path(__file__).parents[2])}
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    for command, out in (([sys.executable], one), (launch, two)):
        subprocess.run([*command, script, tiny_base, out, pcgrad], check=True, env=env)
    ours, theirs = load_file(two), load_file(one)
    scale = max(float(gradient.abs().max()) for gradient in theirs.values())
    for name, gradient in theirs.items():
        assert float((ours[name] - gradient).abs().max()) < 1e-12 * scale, name
