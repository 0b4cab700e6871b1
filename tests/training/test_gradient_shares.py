"""Gradient shares: the set share holds on both towers, until the next measurement and on resume."""

import math

import pytest
import torch
from accelerate import Accelerator

from tests.support.batches import batch_of
from tests.support.projects import copy_project, load_recipe
from tests.support.runs import (
    TRAINED,
    Cut,
    assert_equal_gradients,
    cut_at,
    gradients_of_one_and_two,
)
from unidiff_cli import train
from unidiff_cli.config.train import GradientShares
from unidiff_cli.errors import RecipeError, UsageError, WorkError
from unidiff_cli.models import loading
from unidiff_cli.project import run_log
from unidiff_cli.training import pcgrad
from unidiff_cli.training.gradient_shares import ShareKeeper
from unidiff_cli.training.module import TrainingModule
from unidiff_cli.training.optimizer import trained_parameters
from unidiff_cli.training.trainer import Trainer

TEXT, DENOISER = "train.gradient_shares.text=0.5", "train.gradient_shares.denoiser=0.3"
ONCE = "train.measure_gradients_every=100"
CAPTION = ("objectives.consistency.prompt=caption", "objectives.consistency.max_timestep=1000")
MAP = ("objectives.consistency.features=map", "objectives.consistency.same_timestep=true")


def trainer_of(tiny_base, *assignments, name="fashion"):
    """A trainer in float64."""
    recipe = load_recipe(tiny_base, ONCE, *assignments, name=name)
    base = loading.load_base(str(tiny_base), 32)
    module = TrainingModule(base, recipe.active(), 0, recipe.train.chunk).double()
    trainer = Trainer(Accelerator(cpu=True), module, recipe.train)
    module.train()
    return trainer


def step_of(trainer, step, objectives=None):
    """The figures of a step of all objectives, or of some, and its gradients by parameter.

    Those of some objectives are plain: neither measured nor scaled.
    """
    parameters = trained_parameters(trainer.module)
    trainer.module.zero_grad(set_to_none=True)
    if objectives is None:
        _, figures = trainer._backward(batch_of(8, step), list(parameters.values()))
    else:
        whole, factors = trainer.module.objectives, trainer.module.factors
        trainer.module.objectives = {name: whole[name] for name in objectives}
        trainer.module.factors = type(factors)()
        total, figures = trainer.module(batch_of(8, step))
        total.backward()
        trainer.module.objectives, trainer.module.factors = whole, factors
    return figures, {name: p.grad for name, p in parameters.items()}


def norm_and_rest(part, other, whole, factor):
    """The norms of two gradients where both reach, and the largest error of other + factor·part."""
    both = [n for n in part if part[n] is not None and other[n] is not None]
    errors = [
        (whole[n] - sum(f * g[n] for f, g in ((factor, part), (1, other)) if g[n] is not None))
        for n in whole
        if part[n] is not None or other[n] is not None
    ]
    a, b = (torch.stack([g[n].norm() for n in both]).norm() for g in (part, other))
    return float(a), float(b), max(float(e.abs().max()) for e in errors)


@pytest.mark.parametrize("options", [(), CAPTION, MAP], ids=["null", "caption", "map"])
def test_the_share_holds_on_the_denoiser_and_the_factor_until_the_next_measurement(
    tiny_base, options
):
    trainer = trainer_of(tiny_base, DENOISER, *options, "train.trains=[vision, denoiser]")
    denoiser = {n for n, _ in trainer.base.named_parameters() if n.startswith("unet.")}
    for step in range(2):
        figures, whole = step_of(trainer, step)
        _, part = step_of(trainer, step, ["consistency"])
        _, other = step_of(trainer, step, ["contrastive", "denoise"])
        factor = float(figures["gradient_factor_denoiser"])
        within = [{n: g[n] for n in denoiser} for g in (part, other, whole)]
        a, b, error = norm_and_rest(*within, factor)
        assert error < 1e-12 * b
        # CLIP's side is as the weights have it.
        vision = [{n: g[n] for n in whole.keys() - denoiser} for g in (part, other, whole)]
        assert norm_and_rest(*vision, 1)[2] < 1e-12 * b
        assert ("gradient_norm_denoiser_features" in figures) == (step == 0)
        if step == 0:
            assert factor * a == pytest.approx(0.3 * b, rel=1e-9)
            assert float(figures["gradient_norm_denoiser_features"]) == pytest.approx(a)
            assert float(figures["gradient_norm_denoiser_prediction"]) == pytest.approx(b)
            assert -1 <= figures["gradient_cosine_denoiser"] <= 1
            first = factor
    assert factor == first != 1


@pytest.mark.parametrize("projected", ["false", "true"])
def test_the_share_holds_on_the_text_tower_with_and_without_pcgrad(tiny_base, projected):
    trainer = trainer_of(tiny_base, TEXT, f"train.pcgrad={projected}", name="joint")
    for step in range(2):
        figures, whole = step_of(trainer, step)
        _, part = step_of(trainer, step, ["denoise"])
        _, other = step_of(trainer, step, ["contrastive"])
        factor = float(figures["gradient_factor_text"])
        text = [n for n in whole if n.startswith(("clip.text", "clip.logit_scale"))]
        a, b, _ = norm_and_rest(*({n: g[n] for n in text} for g in (part, other, whole)), factor)
        retrieval = [other[n] for n in text]
        generation = [g if g is None else factor * g for g in (part[n] for n in text)]
        if projected == "true":
            retrieval, generation = pcgrad.project(retrieval, generation)
        for name, x, y in zip(text, retrieval, generation, strict=True):
            expected = sum(g for g in (x, y) if g is not None)
            assert float((whole[name] - expected).abs().max()) < 1e-12 * b, name
        if step == 0:
            assert factor * a == pytest.approx(0.5 * b, rel=1e-9)
            assert float(figures["gradient_norm_text_generation"]) == pytest.approx(a)
            assert float(figures["gradient_norm_text_retrieval"]) == pytest.approx(b)


def test_a_share_of_0_leaves_the_text_tower_to_retrieval(tiny_base):
    trainer = trainer_of(tiny_base, "train.gradient_shares.text=0", name="joint")
    for step in range(2):
        _, whole = step_of(trainer, step)
        _, other = step_of(trainer, step, ["contrastive"])
        text = [n for n in whole if n.startswith("clip.text")]
        assert all(torch.allclose(whole[n], other[n], rtol=1e-9, atol=1e-14) for n in text)


def test_chunks_have_the_same_factors_and_gradients(tiny_base):
    whole, chunked = (
        trainer_of(tiny_base, TEXT, DENOISER, *more) for more in ((), ("train.chunk=3",))
    )
    for step in range(2):
        _, expected = step_of(whole, step)
        _, gradients = step_of(chunked, step)
        scale = max(float(g.abs().max()) for g in expected.values())
        for name, gradient in gradients.items():
            assert float((gradient - expected[name]).abs().max()) < 1e-12 * scale, name
    assert chunked.shares.ratios == pytest.approx(whole.shares.ratios)


def test_half_of_a_measurement_counts_by_its_logarithm():
    """Norms 1 and 4, then 2 and 2: ratios 4 and 1, and √(4 · 1) = 2 in force."""
    shares = ShareKeeper(GradientShares(text=0.5))
    assert shares.factor("text") is None and shares.due(7, every=20)
    shares.measure("text", torch.tensor(1.0), torch.tensor(4.0))
    assert shares.factor("text") == 2 and not shares.due(7, every=20) and shares.due(20, every=20)
    shares.measure("text", torch.tensor(2.0), torch.tensor(2.0))
    assert shares.factor("text") == 1
    # Nothing was there to scale, or the step is not finite: what was measured before stays.
    for scaled, other in ((0.0, 1.0), (math.nan, 1.0), (1.0, math.inf)):
        shares.measure("text", torch.tensor(scaled), torch.tensor(other))
        assert shares.ratios == {"text": 2}
    shares.measure("denoiser", torch.tensor(1.0), torch.tensor(1.0))
    assert shares.ratios == {"text": 2}
    with pytest.raises(WorkError, match="gradient by retrieval, and that is 0"):
        shares.measure("text", torch.tensor(1.0), torch.tensor(0.0))


def test_a_run_with_shares_resumes_exactly(project, tmp_path, recipe):
    """The factors of every step too; the third step is measured, the resumed fourth is not."""
    schedule = ("train.steps=4", "train.checkpoint_every=3", "train.measure_gradients_every=2")
    asked = load_recipe(recipe.base, TEXT, DENOISER, *schedule)
    whole = copy_project(project, tmp_path / "whole")
    name, _ = train(whole, asked)
    with pytest.raises(Cut):
        train(project, asked, on_step=cut_at(4))
    train(project, asked, resume=True)
    keys = ("step", "loss", "gradient_factor_text", "gradient_factor_denoiser")
    expected, logged = (
        [
            [line[key] for key in keys]
            for line in run_log.read(p.path("runs", name))
            if "loss" in line
        ]
        for p in (whole, project)
    )
    assert logged == expected and len(expected) == 4
    assert expected[1][2:] == expected[0][2:] != expected[2][2:]


@pytest.mark.parametrize(
    ("assignments", "name", "message"),
    [
        ([TEXT], "clip-only", "no text tower trains"),
        ([DENOISER], "joint", "no denoiser trains"),
        ([DENOISER, "objectives.consistency.kind=decoded"], "fashion", "no denoiser trains"),
        ([DENOISER, "objectives.denoise=null"], "fashion", "no denoiser trains"),
        ([DENOISER, "train.trains=[vision, text]"], "fashion", "no denoiser trains"),
    ],
)
def test_a_share_of_what_does_not_meet_is_refused(tiny_base, assignments, name, message):
    with pytest.raises(UsageError, match=message):
        trainer_of(tiny_base, *assignments, name=name)


def test_a_share_without_measurements_is_refused(tiny_base):
    with pytest.raises(RecipeError, match="measure_gradients_every"):
        load_recipe(tiny_base, TEXT, "train.measure_gradients_every=0")


def test_features_without_a_prediction_are_not_measured(tiny_base):
    """Only the consistency term teaches the denoiser: nothing meets there, and the run goes on."""
    trainer = trainer_of(tiny_base, "objectives.denoise=null")
    figures, _ = step_of(trainer, 0)
    assert not any("denoiser" in name for name in figures)


def test_each_tower_is_clipped_by_itself(tiny_base):
    """A tower's gradient is not made smaller because another's is large."""
    trainer = trainer_of(tiny_base, "train.clip_norm=1", name="joint")
    towers = {
        tower: [p for p in parameters if p.requires_grad]
        for tower, parameters in trainer.base.parameter_groups().items()
    }
    norms = {"vision": 30.0, "text": 0.5, "denoiser": 4.0}
    for tower, norm in norms.items():
        for p in towers[tower]:
            p.grad = torch.zeros_like(p)
        # Its one element, in any memory layout.
        towers[tower][0].grad[(0,) * towers[tower][0].ndim] = norm
    whole = trainer._clip()
    assert float(whole) == pytest.approx(math.hypot(*norms.values()))
    clipped = {tower: float(towers[tower][0].grad.norm()) for tower in norms}
    assert clipped == pytest.approx({"vision": 1, "text": 0.5, "denoiser": 1}, rel=1e-4)


@pytest.mark.parametrize("every", [1, 100], ids=["measured", "held"])
@pytest.mark.slow
def test_two_processes_with_shares_equal_one(tmp_path, tiny_base, every):
    """float64; by the cut where a step is measured, through DDP where the factors are held."""
    options = (TEXT, DENOISER, f"train.measure_gradients_every={every}")
    one, two = gradients_of_one_and_two(TRAINED, tmp_path, tiny_base, *options)
    assert_equal_gradients(one, two)
