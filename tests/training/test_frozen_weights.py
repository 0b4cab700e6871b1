"""Weights that do not train, held in the half precision of a step: the same run, whole exports."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.base import BASES
from tests.support.projects import load_recipe
from tests.support.runs import assert_resumes_exactly
from unidiff_cli import export, train
from unidiff_cli.models import loading
from unidiff_cli.models.low_rank import MARK, layer_of
from unidiff_cli.project import run_log
from unidiff_cli.project.checkpoints import BEST, tensors
from unidiff_cli.training import assembly
from unidiff_cli.training.assembly import trainer_of
from unidiff_cli.training.example_batches import batches_in_pairs, filled
from unidiff_cli.training.footprint import footprint
from unidiff_cli.training.general_images import generate_general
from unidiff_cli.training.precision import Precision, accelerator_of, round_denoiser

LORA = ("train.lora.rank=4", "train.lora.targets=[linear, convolutions]", "train.ema=0")
HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@contextmanager
def trainer_on(folder, *assignments, name="fashion"):
    """A trainer of the tiny base, and its recipe."""
    recipe = load_recipe(folder, *LORA, *assignments, name=name)
    base = loading.load_base(recipe.base, recipe.image_size)
    with accelerator_of(recipe.train) as accelerator:
        torch.manual_seed(0)
        yield trainer_of(accelerator, base, recipe), recipe


def steps_of(folder, *assignments, start=None):
    """The losses of two steps, on the same random images, and the weights that they leave.

    `start` are the weights that train as they begin, by name; the third of what is given.
    """
    with trainer_on(folder, *assignments) as (trainer, recipe):
        for name, parameter in trainer.weights().items():
            parameter.copy_((start or {}).get(name, parameter))
        start = {name: x.clone() for name, x in trainer.weights().items()}
        batches = [filled(batch, trainer.base, recipe) for batch in batches_in_pairs(recipe)(None)]
        losses = [float(step.loss) for step in trainer.steps(iter(batches))]
        return losses, {name: x.clone() for name, x in trainer.weights().items()}, start


def in_fp32(monkeypatch):
    """Nothing that does not train is rounded."""
    monkeypatch.setattr(Precision, "round_frozen", lambda self, module: None)
    monkeypatch.setattr(assembly, "round_denoiser", lambda base, recipe: None)


def matrices(module):
    """The weights of a module's linear layers and convolutions."""
    return [x.weight for x in module.modules() if type(x) in (nn.Linear, nn.Conv2d)]


# ---------------------------------------------------------------- what is held and computed


@pytest.mark.parametrize("half", HALVES)
def test_what_does_not_train_is_held_in_half_precision(tiny_base, half):
    with trainer_on(tiny_base, f"train.precision={half}") as (trainer, _):
        base = trainer.base
        for part in (base.unet, base.clip):
            frozen = {x.dtype for x in matrices(part) if not x.requires_grad}
            assert frozen == {HALVES[half]}
        trained = [p for p in trainer.module.parameters() if p.requires_grad]
        assert trained and {p.dtype for p in trained} == {torch.float32}
        norms = [p for n, p in base.named_parameters() if p.ndim < 2 and "norm" in n]
        assert norms and {p.dtype for p in norms} == {torch.float32}
        # The autoencoder of SDXL overflows in fp16.
        wide = torch.float32 if half == "fp16" else torch.bfloat16
        assert {x.dtype for x in matrices(base.vae)} == {wide}
        pixels = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
        with trainer.whole_weights(averaged=False):
            mean = base.encode_latents(pixels).mean
            assert mean.dtype == base.decode_latents(mean).dtype == wide


def test_in_fp32_nothing_is_rounded(tiny_base):
    with trainer_on(tiny_base, "train.precision=fp32") as (trainer, _):
        assert {p.dtype for p in trainer.module.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    "more",
    [
        ("train.cache_latents=false", "objectives.anchor.weight=1"),
        pytest.param(("train.lora.towers=[denoiser]",), marks=pytest.mark.slow),
        pytest.param(("train.trains=[vision]", "train.lora=null"), marks=pytest.mark.slow),
    ],
)
def test_a_step_is_what_it_is_with_all_weights_in_fp32(tiny_base, monkeypatch, more):
    """To the last bit: autocast would round these weights too."""
    held, after, start = steps_of(tiny_base, "train.precision=bf16", *more)
    in_fp32(monkeypatch)
    losses, weights, _ = steps_of(tiny_base, "train.precision=bf16", *more, start=start)
    assert losses == held
    assert all(torch.equal(x, weights[name]) for name, x in after.items())


@pytest.mark.slow
def test_steps_of_dora_are_near_those_with_all_weights_in_fp32(tiny_base, monkeypatch):
    """It divides by the norms of the weights, and these are of the rounded ones.

    bf16 has between two and three digits.
    """
    options = ("train.precision=bf16", "train.lora.dora=true")
    held, _, start = steps_of(tiny_base, *options)
    in_fp32(monkeypatch)
    assert held == pytest.approx(steps_of(tiny_base, *options, start=start)[0], rel=0.02)


# ---------------------------------------------------------------- before the first step


def general_of(project, folder, *assignments):
    """A base that was made ready for a run, and the files of three general images that it made."""
    recipe = load_recipe(folder, *assignments)
    base = loading.load_base(recipe.base, recipe.image_size)
    round_denoiser(base, recipe)
    captions = ["a red thing", "a blue thing", "a cup"]
    return base, generate_general(project, base, "w", captions, recipe.generate)


@pytest.mark.parametrize("half", HALVES)
def test_a_denoiser_that_stays_generates_in_half_precision(project, tiny_base, half):
    base, files = general_of(project, tiny_base, *LORA, f"train.precision={half}")
    assert {x.dtype for x in matrices(base.unet)} == {HALVES[half]}
    assert {x.dtype for part in (base.clip, base.vae) for x in matrices(part)} == {torch.float32}
    whole, other = general_of(project, tiny_base, *LORA, "train.precision=fp32")
    assert {x.dtype for x in matrices(whole.unet)} == {torch.float32}
    # Each precision keeps its own images, which are near each other: of 255, and of unit length.
    for name, near in {"clip_pixels": 4, "frozen_text_embeds": 0}.items():
        pairs = list(zip(files[name], other[name], strict=True))
        assert all(one != two for one, two in pairs)
        arrays = [[np.load(file).astype(float) for file in pair] for pair in pairs]
        assert max(np.abs(one - two).mean() for one, two in arrays) <= near


@pytest.mark.parametrize("more", [(), ("train.lora.rank=4", "train.lora.towers=[vision]")])
def test_a_denoiser_that_trains_by_its_weights_is_fp32(project, tiny_base, more):
    base, _ = general_of(project, tiny_base, "train.precision=bf16", *more)
    assert {x.dtype for x in matrices(base.unet)} == {torch.float32}


# ---------------------------------------------------------------- what it takes


@pytest.mark.slow
def test_the_estimate_of_weights_that_do_not_train_is_halved(tiny_base):
    takes = {}
    for precision in ("fp32", "bf16"):
        recipe = load_recipe(tiny_base, *LORA, f"train.precision={precision}", name="sd-only")
        takes[precision] = footprint(recipe, batches_in_pairs(recipe))
    whole, held = (each.memory["weights"] for each in takes.values())
    base = loading.load_base(str(tiny_base), 32)
    assert whole - held == 2 * sum(weight.numel() for weight in matrices(base))
    # The export is written in fp32.
    assert takes["bf16"].export == takes["fp32"].export


# ---------------------------------------------------------------- exports


def test_an_export_is_the_base_in_fp32_and_what_the_adapters_add(project, tiny_base):
    recipe = load_recipe(tiny_base, *LORA, "train.precision=bf16", "train.steps=2", name="sd-only")
    name, _ = train(project, recipe)
    averaged = tensors(project.path("runs", name, "checkpoints", BEST), "averaged")
    export(project, name, choose_guidance=False)
    exported = loading.load_base(str(project.export()), 32).state_dict()
    expected = dict(loading.load_base(str(tiny_base), 32).state_dict())
    tuned = {layer_of(key) for key in averaged}
    for layer in tuned:
        a, b = (averaged[f"{layer}{MARK}{factor}.default.weight"] for factor in "AB")
        weight = expected[f"{layer}.weight"]
        expected[f"{layer}.weight"] = weight + (b.flatten(1) @ a.flatten(1)).view_as(weight)
    assert exported.keys() == expected.keys() and tuned
    for key, weight in expected.items():
        if key.removesuffix(".weight") in tuned:
            torch.testing.assert_close(exported[key], weight, atol=1e-6, rtol=0)
        else:
            assert torch.equal(exported[key], weight), key


@pytest.mark.slow
@pytest.mark.parametrize("half", HALVES)
def test_a_run_that_is_cut_and_resumed_equals_one_that_is_not(project, tmp_path, tiny_base, half):
    recipe = load_recipe(tiny_base, *LORA, f"train.precision={half}")
    assert_resumes_exactly(project, tmp_path, recipe, last=5)


# ---------------------------------------------------------------- families


@pytest.mark.slow
@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("name", BASES)
def test_a_run_of_every_family_measures_and_previews(project, tiny_bases, name, half):
    """Outside of a step too nothing meets weights of another precision."""
    recipe = load_recipe(
        tiny_bases(name),
        LORA[0],
        f"train.precision={half}",
        "train.steps=2",
        "train.cache_latents=false",
    )
    run, _ = train(project, recipe)
    lines = run_log.read(project.path("runs", run))
    figures = [line["validation"] for line in lines if "validation" in line]
    assert figures and np.isfinite(list(figures[-1].values())).all()
    assert list(project.path("runs", run).glob("previews/*.png"))
