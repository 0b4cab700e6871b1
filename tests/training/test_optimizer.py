"""What trains and at which rate, over the run; and when DDP looks for missing gradients."""

import pytest
import torch

from tests.support.projects import load_recipe
from tests.support.runs import assert_resumes_exactly
from unidiff_cli.errors import EnvironmentProblem
from unidiff_cli.models.loading import load_base
from unidiff_cli.training import optimizer_kinds
from unidiff_cli.training.module import TrainingModule
from unidiff_cli.training.optimizer import (
    EMA,
    move_schedule,
    parameter_groups,
    rate_schedule,
    some_without_gradient,
    trained_parameters,
    trained_towers,
)
from unidiff_cli.training.optimizer_kinds import (
    optimizer_of,
    require,
    state_bytes,
    state_tensors,
)


def factors(tiny_base, *assignments, start=0):
    """The factor on the learning rate at each step of a run, from a step on."""
    options = load_recipe(tiny_base, *assignments).train
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
    schedule, rates = rate_schedule(optimizer, options), []
    move_schedule(schedule, start)
    for _ in range(start, options.steps):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return rates


TEN = ("train.steps=10", "train.warmup=2")


def test_cosine_rises_from_zero_and_falls_to_zero(tiny_base):
    rates = factors(tiny_base, *TEN)
    assert rates[:3] == pytest.approx([0, 0.5, 1]) and rates[6] == pytest.approx(0.5)
    assert rates[9] == pytest.approx(0.0380602)


def test_linear_falls_by_the_same_each_step(tiny_base):
    rates = factors(tiny_base, *TEN, "train.schedule=linear")
    assert rates == pytest.approx([0, 0.5, *(k / 8 for k in range(8, 0, -1))])


def test_constant_has_no_warm_up(tiny_base):
    assert factors(tiny_base, *TEN, "train.schedule=constant") == [1.0] * 10


def test_warm_up_takes_half_the_steps_at_most(tiny_base):
    rates = factors(tiny_base, "train.steps=4", "train.warmup=100")
    assert rates == pytest.approx([0, 0.5, 1, 0.5])


@pytest.mark.parametrize("name", ["cosine", "linear", "polynomial", "constant_with_warmup"])
def test_a_schedule_moved_to_a_step_is_the_same_from_there_on(tiny_base, name):
    options = (*TEN, f"train.schedule={name}")
    assert factors(tiny_base, *options, start=4) == factors(tiny_base, *options)[4:]


# ---------------------------------------------------------------- towers


def towers(tiny_base, *assignments, name="fashion"):
    recipe = load_recipe(tiny_base, *assignments, name=name)
    return recipe.active().values(), recipe.train


@pytest.mark.parametrize(
    "name, assignments, expected",
    [
        ("fashion", (), {"vision", "text", "denoiser"}),
        ("clip-only", (), {"vision", "text"}),
        ("sd-only", (), {"denoiser"}),
        ("diffdis", (), {"denoiser", "new_layers"}),
        ("fashion", ("train.lr.text=0",), {"vision", "denoiser"}),
        ("fashion", ("train.trains=[text]",), {"text"}),
        ("clip-only", ("objectives.sigmoid.weight=1",), {"vision", "text"}),
        ("fashion", ("objectives.sigmoid.weight=1",), {"vision", "text", "denoiser", "new_layers"}),
    ],
)
def test_a_tower_trains_that_is_named_has_a_rate_and_is_reached(
    tiny_base, name, assignments, expected
):
    assert trained_towers(*towers(tiny_base, *assignments, name=name)) == expected


@pytest.mark.parametrize(
    "name, assignments, missing",
    [
        ("fashion", (), False),
        ("clip-only", (), False),
        ("diffdis", (), False),
        # CLIP's own temperature has no gradient.
        ("clip-only", ("objectives.sigmoid.weight=1", "objectives.contrastive=null"), True),
        # Half of the denoiser has none.
        ("fashion", ("objectives.denoise=null",), True),
        # The text tower's projection has none.
        ("fashion", ("objectives.contrastive=null",), True),
    ],
)
def test_parameters_may_miss_a_gradient_where_no_objective_covers_their_tower(
    tiny_base, name, assignments, missing
):
    assert some_without_gradient(*towers(tiny_base, *assignments, name=name)) is missing


# ---------------------------------------------------------------- kinds and averages


@pytest.mark.parametrize(
    "assignments",
    [
        ("train.optimizer=adafactor", "train.ema=0"),
        ("train.optimizer=adamw8bit",),
        ("train.ema_on=cpu",),
    ],
    ids=lambda assignments: assignments[0],
)
@pytest.mark.slow
def test_a_run_resumes_exactly_whatever_is_kept_of_it(project, tmp_path, tiny_base, assignments):
    assert_resumes_exactly(project, tmp_path, load_recipe(tiny_base, *assignments), 4)


def test_adafactor_keeps_a_row_and_a_column_and_moves_by_the_recipes_rate(tiny_base):
    options = load_recipe(tiny_base, "train.optimizer=adafactor").train
    matrix = torch.nn.Parameter(torch.zeros(20, 30))
    optimizer = optimizer_of(options, [{"params": [matrix], "lr": 1e-2, "weight_decay": 0.0}])
    matrix.grad = torch.randn(20, 30)
    optimizer.step()
    assert float(matrix.square().mean().sqrt()) == pytest.approx(1e-2, rel=0.3)
    kept = state_tensors(optimizer, matrix)
    assert (
        sum(x.numel() * 4 for x in kept.values() if x.ndim) == state_bytes(options, matrix) == 200
    )


def test_without_averages_the_weights_themselves_are_exported(tiny_base):
    options = load_recipe(tiny_base, "train.ema=0").train
    module = TrainingModule(load_base(tiny_base, 32), load_recipe(tiny_base).active(), 0)
    parameter_groups(module, options)
    averaged = EMA(module, options.ema)
    live = trained_parameters(module)
    next(iter(live.values())).data.add_(1)
    averaged.step()
    assert averaged.model is None
    assert all(x.data_ptr() == live[name].data_ptr() for name, x in averaged.tensors().items())
    with averaged.applied():
        assert trained_parameters(module).keys() == live.keys()


def test_adamw_in_8_bits_moves_as_adamw_does_and_keeps_a_byte_of_each(tiny_base):
    moved, kept = {}, {}
    for kind in ("adamw", "adamw8bit"):
        options = load_recipe(tiny_base, f"train.optimizer={kind}").train
        generator = torch.Generator().manual_seed(0)
        convolution = torch.nn.Conv2d(32, 64, 3).to(memory_format=torch.channels_last).weight
        with torch.no_grad():
            convolution.copy_(torch.randn(convolution.shape, generator=generator))
        small = torch.nn.Parameter(torch.zeros(10))
        before = convolution.detach().clone()
        groups = [{"params": [convolution, small], "lr": 1e-2, "weight_decay": 0.0}]
        optimizer = optimizer_of(options, groups)
        for _ in range(5):
            for parameter in (convolution, small):
                # As autograd leaves it, in the layout of its parameter.
                gradient = torch.randn(parameter.shape, generator=generator)
                parameter.grad = torch.empty_like(parameter).copy_(gradient)
            optimizer.step()
        moved[kind] = convolution.detach() - before
        tensors = [state_tensors(optimizer, p) for p in (convolution, small)]
        kept[kind] = [sum(x.nbytes for x in each.values() if x.ndim) for each in tensors]
        assert kept[kind] == [state_bytes(options, p) for p in (convolution, small)]
    assert kept["adamw8bit"][0] < 0.3 * kept["adamw"][0]
    assert kept["adamw8bit"][1] == kept["adamw"][1]
    assert torch.cosine_similarity(*(x.flatten() for x in moved.values()), dim=0) > 0.99


def test_a_run_whose_optimiser_is_not_installed_is_refused(tiny_base, monkeypatch):
    monkeypatch.setattr(optimizer_kinds, "find_spec", lambda name: None)
    require(load_recipe(tiny_base).train)
    with pytest.raises(EnvironmentProblem, match="The package bitsandbytes is not installed"):
        require(load_recipe(tiny_base, "train.optimizer=adamw8bit").train)
