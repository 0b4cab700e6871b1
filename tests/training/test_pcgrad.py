"""Gradient conflict on the text tower: PCGrad by hand, and the cut changes no gradient."""

import pytest
import torch
from accelerate import Accelerator

from tests.support.batches import batch_of
from tests.support.projects import load_recipe
from unidiff_cli.errors import UsageError
from unidiff_cli.models import loading
from unidiff_cli.training import pcgrad
from unidiff_cli.training.module import TrainingModule
from unidiff_cli.training.optimizer import (
    parameter_groups,
    shared_text_parameters,
    trained_parameters,
)
from unidiff_cli.training.trainer import Trainer


def vectors(*values):
    return [torch.tensor(v, dtype=torch.float64) if v is not None else None for v in values]


def test_pcgrad_by_hand():
    """a = (1, 0), b = (−1, 1): a·b = −1, ‖b‖² = 2, so a + b/2 = (½, ½) and b + a = (0, 1)."""
    a, b = vectors([1.0, 0.0]), vectors([-1.0, 1.0])
    assert float(pcgrad.cosine(a, b)) == pytest.approx(-(0.5**0.5))
    (x,), (y,) = pcgrad.project(a, b)
    assert x.tolist() == [0.5, 0.5] and y.tolist() == [0.0, 1.0]
    agreeing = vectors([1.0, 1.0])
    (x,), (y,) = pcgrad.project(a, agreeing)
    assert x.tolist() == [1.0, 0.0] and y.tolist() == [1.0, 1.0]


def test_what_one_reader_alone_reaches_is_left_as_it_is():
    a, b = vectors([1.0], [7.0]), vectors([-1.0], None)
    assert float(pcgrad.cosine(a, b)) == -1
    (x, own), (y, none) = pcgrad.project(a, b)
    assert (x.item(), own.item(), y.item(), none) == (0.0, 7.0, 0.0, None)


@pytest.fixture
def joint(tiny_base):
    recipe = load_recipe(tiny_base)
    joint = (
        TrainingModule(loading.load_base(str(tiny_base), 32), recipe.active(), 0).double().train()
    )
    parameter_groups(joint, recipe.train)
    return joint


def cut(joint, batch):
    forward = joint.forward_pass(batch)
    forward.cut_text()
    joint.losses(forward)[0].backward()
    return forward


def test_the_two_readers_add_up_to_the_whole_gradient(joint):
    """float64; and each is the gradient of its own terms, taken by itself."""
    batch, tower, everything = (
        batch_of(8),
        shared_text_parameters(joint),
        list(trained_parameters(joint).values()),
    )
    joint(batch)[0].backward()
    whole = {name: p.grad.clone() for name, p in trained_parameters(joint).items()}
    joint.zero_grad()
    forward = joint.forward_pass(batch)
    forward.cut_text()
    angle = pcgrad.backward(
        joint.losses(forward)[0], forward, tower, everything, False, lambda total: total.backward()
    )
    scale = max(float(g.abs().max()) for g in whole.values())
    for name, parameter in trained_parameters(joint).items():
        assert float((parameter.grad - whole[name]).abs().max()) < 1e-12 * scale, name
    assert -1 <= float(angle) <= 1
    joint.zero_grad()
    joint.objectives = {"contrastive": joint.objectives["contrastive"]}
    alone = torch.autograd.grad(joint(batch)[0], tower, allow_unused=True)
    joint.objectives = {k: v for k, v in load_recipe_of(joint).items() if k != "contrastive"}
    other = torch.autograd.grad(joint(batch)[0], tower, allow_unused=True)
    assert float(pcgrad.cosine(alone, other)) == pytest.approx(float(angle), abs=1e-10)


def load_recipe_of(joint):
    return load_recipe(joint.base.source.diffusion).active()


def test_projected_gradients_work_against_neither(joint):
    """The contrastive gradient against itself, ascended: a conflict by construction; then the real two."""
    tower = shared_text_parameters(joint)
    finding, drawing = pcgrad.readers(cut(joint, batch_of(8)), tower)
    opposed = [
        g if g is None or f is None else g - 3 * f for f, g in zip(finding, drawing, strict=True)
    ]
    for a, b in ((finding, drawing), (finding, opposed)):
        x, y = pcgrad.project(a, b)
        assert (
            float(pcgrad.products(x, b)[0]) >= -1e-12 and float(pcgrad.products(y, a)[0]) >= -1e-12
        )
    assert float(pcgrad.cosine(finding, opposed)) < 0


def fit_of(tiny_base, *assignments, name="fashion"):
    recipe = load_recipe(tiny_base, *assignments, name=name)
    base = loading.load_base(str(tiny_base), 32)
    return Trainer(
        Accelerator(cpu=True),
        TrainingModule(base, recipe.active(), 0, recipe.train.chunk),
        recipe.train,
    )


def test_the_cosine_is_logged_every_so_many_steps_and_where_there_are_two_readers(tiny_base):
    fit = fit_of(tiny_base, "train.gradient_cosine_every=2")
    logged = [
        "gradient_cosine" in step.parts
        for step in fit.steps(iter([batch_of(8, step=k) for k in range(4)]))
    ]
    assert logged == [True, False, True, False]
    alone = fit_of(tiny_base, "train.gradient_cosine_every=1", name="clip-only")
    assert all("gradient_cosine" not in step.parts for step in alone.steps(iter([batch_of(8)])))


@pytest.mark.parametrize(
    "name, assignments",
    [
        (
            "diffdis",
            ["train.trains=[text, denoiser, new_layers]"],
        ),  # reads the embeddings and detaches them
        ("fashion", ["objectives.contrastive=null", "objectives.consistency.kind=cross_modal"]),
    ],
)
def test_a_reader_that_only_looks_gives_no_cosine_and_ends_no_run(tiny_base, name, assignments):
    fit = fit_of(tiny_base, "train.gradient_cosine_every=1", *assignments, name=name)
    start = fit.base.clip.text_model.embeddings.token_embedding.weight.detach().clone()
    steps = list(fit.steps(iter([batch_of(8, step=k) for k in range(2)])))
    assert len(steps) == 2 and all("gradient_cosine" not in step.parts for step in steps)
    assert not torch.equal(
        start, fit.base.clip.text_model.embeddings.token_embedding.weight
    )  # drawing moves it


def test_pcgrad_takes_the_conflict_out_of_the_text_tower_alone(tiny_base):
    """A finding term turned round fights the denoise term; chunks give the same."""

    def gradients(*assignments):
        fit = fit_of(tiny_base, "train.gradient_cosine_every=0", *assignments)
        fit.module.double().train()
        term = fit.module.terms["contrastive"]
        tower = fit.base.clip.text_model
        fit.module.terms["contrastive"] = lambda forward: (
            -term(forward)[0] - (fixed * forward.text_embeds).sum(),
            {},
        )
        parts = fit._backward(batch_of(8), list(trained_parameters(fit.module).values()))[1]
        within = {f"clip.text_model.{name}" for name, _ in tower.named_parameters()}
        return parts, {n: p.grad for n, p in trained_parameters(fit.module).items()}, within

    fixed = torch.randn(8, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    _, plain, within = gradients()
    parts, projected, _ = gradients("train.pcgrad=true")
    _, chunked, _ = gradients("train.pcgrad=true", "train.chunk=3")
    assert parts["gradient_cosine"] < 0  # or this test tests nothing
    for name, gradient in plain.items():
        scale = 1e-10 * float(gradient.abs().max()) + 1e-14
        assert torch.allclose(chunked[name], projected[name], rtol=1e-9, atol=scale), name
        if name not in within:
            assert torch.allclose(projected[name], gradient, rtol=1e-9, atol=scale), name
    assert any(not torch.allclose(projected[n], plain[n], rtol=1e-3) for n in within)


def test_pcgrad_without_two_readers_is_refused(tiny_base):
    with pytest.raises(UsageError, match="pcgrad"):
        fit_of(tiny_base, "train.pcgrad=true", name="clip-only")
