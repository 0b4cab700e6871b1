"""Prior: general captions and the base's own images of them, drawn once, seen alike by any number of processes."""

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
from unidiff_cli.data.dataset import BatchPlan, PriorDataset, Samples
from unidiff_cli.data.shards import Shards
from unidiff_cli.errors import EnvironmentProblem, NotReady, UsageError
from unidiff_cli.models import loading
from unidiff_cli.models.forward import ForwardPass
from unidiff_cli.objectives.denoise import Denoise
from unidiff_cli.objectives.prior import GENERAL, Prior
from unidiff_cli.sample_catalog import OBJECTS
from unidiff_cli.training import precompute
from unidiff_cli.training.module import TrainingModule
from unidiff_cli.training.optimizer import parameter_groups

SMALL = ("objectives.prior.images=6", "objectives.prior.every=2", "generate.batch_size=4")


@pytest.fixture
def base(tiny_base):
    return loading.load_base(str(tiny_base), 32)


def with_prior(batch, every=2):
    """A batch and general captions of random latents, as `General` gives them."""
    numbers = [p // every for p in batch.positions if p % every == 0]
    if numbers:
        one = batch_of(len(numbers))
        rows = [
            torch.randn(8, 8, 8, generator=torch.Generator().manual_seed(n)).abs() for n in numbers
        ]
        one.positions, one.captions, one.clip_pixels = (
            [-1 - n for n in numbers],
            [f"place {n}" for n in numbers],
            None,
        )
        one.latents = torch.stack(rows)
        batch.prior = one
    return batch


def test_the_built_in_captions_name_nothing_of_the_probe():
    captions = Prior().read()
    assert len(captions) == 200 and len(set(captions)) > 70
    words = {word for caption in captions for word in caption.split()}
    named = {word for name in OBJECTS for word in name.split()} - {"milk", "juice"}
    assert not words & (named | {f"{word}s" for word in named})
    assert GENERAL.is_file()


def test_one_text_forward_and_one_more_pass_of_the_unet(base, tiny_base, monkeypatch):
    sizes: dict[str, list[int]] = {"text": [], "denoise": []}
    for name in sizes:
        whole = getattr(base, name)

        def counted(first, *more, _name=name, _whole=whole):
            sizes[_name].append(len(first))
            return _whole(first, *more)

        monkeypatch.setattr(base, name, counted)
    joint = TrainingModule(base, load_recipe(tiny_base, *SMALL, name="joint").active(), seed=0)
    assert "prior" in load_recipe(tiny_base, *SMALL, name="joint").active()
    total, parts = joint.train()(with_prior(batch_of(8)))
    assert sizes == {"text": [8 + 4 + 1], "denoise": [8, 4]} and torch.isfinite(total)


def test_it_is_the_denoise_loss_of_its_own_rows(base, tiny_base):
    recipe = load_recipe(tiny_base, *SMALL, name="sd-only")
    joint = TrainingModule(base, recipe.active(), seed=0)
    batch = with_prior(batch_of(8))
    with torch.no_grad():
        ours, _ = joint.terms["prior"](ForwardPass(base, batch, joint.needs, 0, 0))
        theirs, _ = Denoise().loss(ForwardPass(base, batch.prior, joint.needs, 0, 0))
    assert torch.allclose(ours, theirs, rtol=1e-5)
    # of 8 samples the UNet sees four, numbered 0 to 3: with `every` 2 two of them bring one of these
    batch.denoise_rows, batch.denoise_positions = [1, 3, 5, 7], [0, 1, 2, 3]
    batch.latents = batch.latents[1::2]
    batch.prior = with_prior(batch_of(4)).prior
    with torch.no_grad():
        ours, _ = joint.terms["prior"](ForwardPass(base, batch, joint.needs, 0, 0))
        theirs, _ = Denoise().loss(ForwardPass(base, batch.prior, joint.needs, 0, 0))
    assert torch.allclose(ours, theirs, rtol=1e-5)


def test_the_unet_trains_on_it_alone(base, tiny_base):
    recipe = load_recipe(tiny_base, *SMALL, "objectives.denoise=null", name="sd-only")
    joint = TrainingModule(base, recipe.active(), seed=0)
    assert not joint.needs.latents and {
        g["name"] for g in parameter_groups(joint, recipe.train)
    } == {"denoiser"}
    joint.train()(with_prior(batch_of(4)))[0].backward()
    assert base.unet.conv_out.weight.grad.abs().sum() > 0
    base.unet.zero_grad()
    joint(batch_of(4))[0].backward()  # none fell to this process
    assert base.unet.conv_in.weight.grad.abs().sum() == 0


def test_images_are_drawn_once_and_an_interrupted_drawing_goes_on(
    project, base, recipe, monkeypatch
):
    captions, seen = ["a lake", "a fox", "a tram"] * 2, []
    options = load_recipe(recipe.base, *SMALL).generate

    def stop(label, done, total):
        raise Cut

    with pytest.raises(Cut):
        precompute.generate_prior(project, base, "w", captions, options, stop)
    files = precompute.generate_prior(
        project, base, "w", captions, options, lambda *at: seen.append(at[1:])
    )
    assert seen == [(6, 6)]  # the first four were kept
    precompute.generate_prior(
        project, base, "w", captions, options, stop
    )  # nothing is left to draw
    latents = PriorDataset(captions, files, 2, 0).latents
    assert latents.shape == (6, 8, 8, 8)
    for other in (("v", captions), ("w", captions[:5])):
        assert set(precompute.generate_prior(project, base, *other, options)).isdisjoint(files)


def test_another_batch_size_pairs_captions_with_the_same_images(project, base, recipe):
    """An interrupted drawing goes on with fewer at a time, as one out of memory is told to."""
    captions = [f"place {i}" for i in range(6)]

    def drawn(size, stop=None):
        options = load_recipe(recipe.base, *SMALL, f"generate.batch_size={size}").generate
        return PriorDataset(
            captions, precompute.generate_prior(project, base, "w", captions, options, stop), 2, 0
        ).latents

    def stop(label, done, total):
        raise Cut

    with pytest.raises(Cut):
        drawn(4, stop)
    mixed = drawn(2)
    assert len(mixed) == 6 and (mixed == drawn(4)).all()
    (place,) = project.path("cache").glob("*/prior")
    for file in place.iterdir():
        file.unlink()
    assert torch.allclose(
        torch.from_numpy(drawn(3)).float(), torch.from_numpy(mixed).float(), atol=2e-2
    )
    next(place.glob("000005.npy")).unlink()
    with pytest.raises(EnvironmentProblem, match="holds 5 images of the prior's 6 captions"):
        PriorDataset(captions, sorted(place.glob("*.npy")), 2, 0).latents  # noqa: B018


def test_as_many_are_drawn_as_the_unet_sees_others(project, base, prepared):
    """With denoise_batch a quarter of 4 of 16, not of all 16."""
    shards, captions = Shards.open(prepared.path("shards")), [f"place {i}" for i in range(5)]
    files = precompute.generate_prior(
        project, base, "w", captions, load_recipe(base.source.diffusion, *SMALL).generate
    )
    for world in (1, 2):
        shares = [
            Samples(
                shards,
                shards.rows("train"),
                BatchPlan(16, 0, denoise_batch=4, rank=r, world=world),
                transforms=base.transforms(),
                prior=PriorDataset(captions, files, 2, 0),
            )
            for r in range(world)
        ]
        for step in range(3):
            parts = [share[step].prior for share in shares]
            assert [p for part in parts if part for p in part.positions] == [
                -1 - 2 * step,
                -2 - 2 * step,
            ]


def test_which_are_seen_does_not_depend_on_the_processes(project, base, prepared):
    shards = Shards.open(prepared.path("shards"))
    captions = [f"place {i}" for i in range(5)]
    files = precompute.generate_prior(
        project, base, "w", captions, load_recipe(base.source.diffusion, *SMALL).generate
    )

    def seen(world):
        shares = [
            Samples(
                shards,
                shards.rows("train"),
                BatchPlan(8, 0, rank=r, world=world),
                prior=PriorDataset(captions, files, 3, 0),
            )
            for r in range(world)
        ]
        parts = [share[step].prior for step in range(3) for share in shares]
        return [
            (p, c, float(z.sum()))
            for b in parts
            if b
            for p, c, z in zip(b.positions, b.captions, b.latents, strict=True)
        ]

    whole = seen(1)
    assert whole == seen(2) == seen(8) and [p for p, *_ in whole] == [-1 - n for n in range(8)]
    assert {c for _, c, _ in whole[:5]} == set(captions)  # each before any comes again


def test_a_run_resumes_exactly_and_other_captions_are_refused(project, tmp_path, recipe):
    from tests.support.projects import copy_project

    mine = tmp_path / "captions.txt"
    mine.write_text("# mine\na lake\na fox\n")
    asked = load_recipe(
        recipe.base,
        *SMALL,
        f"objectives.prior.captions={mine}",
        "train.steps=3",
        "train.checkpoint_every=2",
    )
    whole, said = copy_project(project, tmp_path / "whole"), []
    name, _ = train(whole, asked, on_progress=lambda label, *_: said.append(label))
    assert "drawing the prior" in said
    with pytest.raises(Cut):
        train(project, asked, on_step=cut_at(3))
    mine.write_text("a lake\na wolf\n")
    with pytest.raises(NotReady, match="prior's captions changed"):
        train(project, asked, resume=True)
    mine.write_text("# mine\na lake\na fox\n")
    train(project, asked, resume=True)
    assert losses(project, name) == losses(whole, name)
    mine.write_text("# nothing\n")
    with pytest.raises(UsageError, match="holds no prompt"):
        train(project, asked, force=True)


def test_two_processes_train_with_it(project, recipe):
    asked = load_recipe(
        recipe.base, *SMALL, "objectives.prior.every=8", "train.processes=2", "train.steps=2"
    )
    name, _ = train(project, asked)  # every step all of it falls to the first process
    assert sorted(losses(project, name)) == [1, 2]


def test_gradients_of_two_processes_equal_those_of_one(tmp_path, tiny_base):
    from safetensors.torch import load_file

    code = GRADIENTS.replace(
        "load_recipe(sys.argv[1])", "load_recipe(sys.argv[1], 'objectives.prior.weight=1')"
    )
    code = code.replace(
        "module = joint\n",
        "from tests.objectives.test_prior import with_prior\nwith_prior(batch, 3)\nmodule = joint\n",
        1,
    )
    assert (
        "prior.weight" in code and "with_prior(batch, 3)" in code
    )  # 0, 3 and 6: two of one process, one of the other
    script, one, two = (
        tmp_path / name for name in ("gradients.py", "one.safetensors", "two.safetensors")
    )
    script.write_text(code.replace("weight=1'", "weight=1', 'objectives.prior.every=3'"))
    env = {**os.environ, "OMP_NUM_THREADS": "1", "CHECKOUT": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, script, tiny_base, one], check=True, env=env)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([*launch, script, tiny_base, two], check=True, env=env)
    ours, theirs = load_file(two), load_file(one)
    scale = max(float(gradient.abs().max()) for gradient in theirs.values())
    assert all(float((ours[k] - v).abs().max()) < 1e-12 * scale for k, v in theirs.items())
