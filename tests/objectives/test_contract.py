"""The contract of objectives: what any loss term, built in or installed, must keep to."""

import math
from dataclasses import fields

import pytest
import torch
from torch import nn

from tests.support.batches import batch_of, with_prior
from unidiff_cli import registry
from unidiff_cli.models import loading
from unidiff_cli.models.encoders import CLIP, DIFFDIS
from unidiff_cli.models.needs import Needs
from unidiff_cli.objectives import Objective, needs_of, trained_encoder
from unidiff_cli.objectives._heads import LossModule
from unidiff_cli.training.module import TrainingModule

NAMES = registry.names("objectives")
TOWERS = {"vision", "text", "denoiser", "new_layers"}


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def objective(name):
    return registry.load("objectives", name)()


@pytest.fixture
def module(name, objective, tiny_base):
    """The objective alone, everything trainable, a little off the base."""
    base = loading.load_base(str(tiny_base), 32)
    module = TrainingModule(base, {name: objective}, seed=0).train()
    torch.manual_seed(0)
    with torch.no_grad():
        for parameters in base.parameter_groups().values():
            for parameter in parameters:
                parameter.add_(0.02 * torch.randn_like(parameter))
    return module


def batch_for(objective):
    batch = batch_of(8)
    return with_prior(batch) if objective.needs.prior else batch


def test_it_says_what_it_needs_trains_and_teaches(objective):
    assert isinstance(objective, Objective) and isinstance(objective.needs, Needs)
    assert objective.trains <= TOWERS and objective.covers <= objective.trains
    assert objective.encoder in (None, CLIP, DIFFDIS)
    assert objective.teaches_retrieval == (objective.encoder is not None)


def test_its_loss_is_one_finite_number_and_its_figures_are_too(name, objective, module):
    total, parts = module(batch_for(objective))
    assert total.shape == () and math.isfinite(float(total.detach())) and name in parts
    assert all(value.numel() == 1 for value in parts.values())


def test_its_gradient_reaches_the_towers_it_trains(objective, module):
    module(batch_for(objective))[0].backward()
    reached = {
        tower
        for tower, parameters in towers_of(module).items()
        if any(p.grad is not None for p in parameters)
    }
    # It may reach another, as the empty caption's states do the text tower.
    assert objective.trains <= reached


def test_every_parameter_of_a_covered_tower_has_a_gradient(objective, module):
    module(batch_for(objective))[0].backward()
    towers = towers_of(module)
    for tower in objective.covers:
        assert all(p.grad is not None for p in towers[tower]), tower


def towers_of(module):
    """The parameters by tower, with what the objective learns of its own."""
    towers = module.base.parameter_groups()
    return {**towers, "new_layers": [*towers["new_layers"], *module.heads.parameters()]}


def test_layers_are_attached_once_and_not_the_objectives_own(objective, tiny_base):
    base = loading.load_base(str(tiny_base), 32)
    layers = objective.layers(base)
    assert not base.added, "the caller attaches them"
    if layers is not None:
        base.attach(layers)
        assert objective.layers(base) is layers
        assert "new_layers" in objective.trains


def test_building_changes_no_weight_of_the_base(objective, tiny_base):
    base = loading.load_base(str(tiny_base), 32)
    before = base.weights_hash
    term = objective.build(base)
    assert base.weights_hash == before and callable(term)
    if isinstance(term, LossModule):
        assert all(scale.numel() == 1 for scale in term.scales)
    if isinstance(term, nn.Module) and list(term.parameters()):
        assert "new_layers" in objective.trains


def test_its_new_parameters_begin_alike_on_every_process(name, objective, tiny_base):
    def begun():
        base = loading.load_base(str(tiny_base), 32)
        module = TrainingModule(base, {name: objective}, seed=3)
        return [*base.parameter_groups()["new_layers"], *module.heads.parameters()]

    assert all(torch.equal(a, b) for a, b in zip(begun(), begun(), strict=True))


def test_its_inputs_are_hashes_and_its_data_are_made_by_the_caller(objective, tmp_path):
    assert all(isinstance(value, str) for value in objective.inputs().values())
    asked = []

    def generate(captions):
        asked.append(list(captions))
        return {"latents": [tmp_path / f"{i}.npy" for i in range(len(captions))]}

    data = objective.data(generate, seed=0)
    assert (data is not None) == objective.needs.prior == bool(asked)
    if data is not None:
        assert len(data.files["latents"]) == len(data.captions) == len(asked[0])


# ---------------------------------------------------------------- several together


def test_needs_of_several_are_what_any_of_them_needs():
    one, other = Needs(latents=True, caption_drop=0.2), Needs(image_embeds=True, caption_drop=0.1)
    both = one | other
    assert both.latents and both.image_embeds and both.caption_drop == 0.2
    assert not both.text_embeds and Needs.union([]) == Needs()


def test_needs_are_switches_but_for_the_caption_drop():
    kinds = {field.name: type(getattr(Needs(), field.name)) for field in fields(Needs)}
    assert {name for name, kind in kinds.items() if kind is not bool} == {"caption_drop"}


def objectives_of(*names):
    return [registry.load("objectives", name)() for name in names]


@pytest.mark.parametrize(
    "names, encoder",
    [
        (("contrastive", "denoise"), CLIP),
        (("text_diffusion", "denoise"), DIFFDIS),
        (("text_diffusion", "contrastive"), CLIP),
        (("denoise",), None),
    ],
)
def test_a_run_is_judged_by_the_encoder_it_teaches(names, encoder):
    assert trained_encoder(objectives_of(*names)) == encoder


def test_only_the_diffusion_loss_measures_generation():
    measuring = [name for name in NAMES if objectives_of(name)[0].measures_generation]
    assert measuring == ["denoise"]


def test_needs_of_a_recipe_join_those_of_its_objectives():
    needs = needs_of(objectives_of("contrastive", "denoise"))
    assert needs.clip_pixels and needs.latents and needs.empty_caption
