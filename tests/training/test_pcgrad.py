"""Gradient conflict on the text tower: PCGrad by hand, and the cut changes no gradient."""

from functools import partial

import pytest
import torch
from accelerate import Accelerator

from tests.support.batches import batch_of
from tests.support.projects import load_recipe
from unidiff_cli.errors import UsageError
from unidiff_cli.models import loading
from unidiff_cli.training import pcgrad
from unidiff_cli.training.gradients import CutStep, reader_gradients
from unidiff_cli.training.module import TrainingModule
from unidiff_cli.training.optimizer import (
    parameter_groups,
    shared_text_parameters,
    trained_parameters,
)
from unidiff_cli.training.trainer import Trainer


def cosine(a, b):
    """cos(a, b) over the parameters that both reach."""
    dot, aa, bb = pcgrad.products(a, b)
    return dot / (aa.sqrt() * bb.sqrt())


def vectors(*values):
    return [torch.tensor(v, dtype=torch.float64) if v is not None else None for v in values]


def test_pcgrad_by_hand():
    """a = (1, 0), b = (−1, 1): a·b = −1, ‖b‖² = 2, so a + b/2 = (½, ½) and b + a = (0, 1)."""
    a, b = vectors([1.0, 0.0]), vectors([-1.0, 1.0])
    assert float(cosine(a, b)) == pytest.approx(-(0.5**0.5))
    (x,), (y,) = pcgrad.project(a, b)
    assert x.tolist() == [0.5, 0.5] and y.tolist() == [0.0, 1.0]


def test_gradients_that_agree_are_left_as_they_are():
    a, agreeing = vectors([1.0, 0.0]), vectors([1.0, 1.0])
    (x,), (y,) = pcgrad.project(a, agreeing)
    assert x.tolist() == [1.0, 0.0] and y.tolist() == [1.0, 1.0]


def test_what_one_reader_alone_reaches_is_left_as_it_is():
    a, b = vectors([1.0], [7.0]), vectors([-1.0], None)
    assert float(cosine(a, b)) == -1
    (x, alone), (y, none) = pcgrad.project(a, b)
    assert (x.item(), alone.item(), y.item(), none) == (0.0, 7.0, 0.0, None)


@pytest.fixture
def module(tiny_base):
    """The fashion recipe's, ready to train, in float64."""
    recipe = load_recipe(tiny_base)
    base = loading.load_base(str(tiny_base), 32)
    module = TrainingModule(base, recipe.active(), 0).double().train()
    parameter_groups(module, recipe.train)
    return module


def test_the_two_readers_add_up_to_the_whole_gradient(module):
    batch, tower = batch_of(8), shared_text_parameters(module)
    parameters = trained_parameters(module)
    module(batch)[0].backward()
    whole = {name: p.grad.clone() for name, p in parameters.items()}
    module.zero_grad()
    forward = module.forward_pass(batch)
    text, features = forward.detach_text_tower(), forward.detach_features()
    module.losses(forward)[0].backward()
    denoiser = module.base.parameter_groups()["denoiser"]
    CutStep(list(parameters.values()), text, tower, features, denoiser, None, False).finish()
    scale = max(float(gradient.abs().max()) for gradient in whole.values())
    for name, parameter in parameters.items():
        assert float((parameter.grad - whole[name]).abs().max()) < 1e-12 * scale, name


def test_a_reader_has_the_gradient_of_its_own_terms(module):
    batch, tower, objectives = batch_of(8), shared_text_parameters(module), module.objectives
    retrieval, generation = readers(module, batch, tower)
    module.objectives = {"contrastive": objectives["contrastive"]}
    by_retrieval = torch.autograd.grad(module(batch)[0], tower, allow_unused=True)
    module.objectives = {k: v for k, v in objectives.items() if k != "contrastive"}
    by_generation = torch.autograd.grad(module(batch)[0], tower, allow_unused=True)
    angle = float(cosine(retrieval, generation))
    assert -1 <= angle <= 1
    assert float(cosine(by_retrieval, by_generation)) == pytest.approx(angle, abs=1e-10)


def readers(module, batch, tower):
    """Both readers' gradients of the tower, from one backward of a cut step."""
    forward = module.forward_pass(batch)
    cut = forward.detach_text_tower()
    module.losses(forward)[0].backward()
    return reader_gradients(cut, tower)


def test_projected_gradients_work_against_neither(module):
    """The real two; then retrieval's against itself, ascended: a conflict by construction."""
    retrieval, generation = readers(module, batch_of(8), shared_text_parameters(module))
    opposed = [
        g if g is None or r is None else g - 3 * r
        for r, g in zip(retrieval, generation, strict=True)
    ]
    for a, b in ((retrieval, generation), (retrieval, opposed)):
        x, y = pcgrad.project(a, b)
        assert float(pcgrad.products(x, b)[0]) >= -1e-12
        assert float(pcgrad.products(y, a)[0]) >= -1e-12
    assert float(cosine(retrieval, opposed)) < 0


# ---------------------------------------------------------------- in the trainer


def trainer_of(tiny_base, *assignments, name="fashion"):
    recipe = load_recipe(tiny_base, *assignments, name=name)
    base = loading.load_base(str(tiny_base), 32)
    module = TrainingModule(base, recipe.active(), 0, recipe.train.chunk)
    return Trainer(Accelerator(cpu=True), module, recipe.train)


def steps_of(trainer, count):
    return list(trainer.steps(iter([batch_of(8, step=k) for k in range(count)])))


def test_the_cosine_is_logged_every_so_many_steps(tiny_base):
    steps = steps_of(trainer_of(tiny_base, "train.measure_gradients_every=2"), 4)
    assert ["gradient_cosine" in step.parts for step in steps] == [True, False, True, False]


def test_without_two_readers_there_is_no_cosine(tiny_base):
    trainer = trainer_of(tiny_base, "train.measure_gradients_every=1", name="clip-only")
    assert all("gradient_cosine" not in step.parts for step in steps_of(trainer, 1))


@pytest.mark.parametrize(
    "name, assignments",
    [
        # It reads the embeddings and detaches them.
        ("diffdis", ["train.trains=[text, denoiser, new_layers]"]),
        ("fashion", ["objectives.contrastive=null", "objectives.consistency.kind=cross_modal"]),
    ],
)
def test_a_reader_that_only_looks_gives_no_cosine_and_ends_no_run(tiny_base, name, assignments):
    options = ("train.measure_gradients_every=1", "train.warmup=0")
    trainer = trainer_of(tiny_base, *options, *assignments, name=name)
    text = trainer.base.parameter_groups()["text"][0]
    start = text.detach().clone()
    steps = steps_of(trainer, 2)
    assert len(steps) == 2 and all("gradient_cosine" not in step.parts for step in steps)
    # Generation moves it.
    assert not torch.equal(start, text)


def opposed_gradients(tiny_base, *assignments):
    """A step whose retrieval term is turned round, to fight the denoise term: its parts, its
    gradients by name, and the names of the text tower's parameters."""
    trainer = trainer_of(tiny_base, "train.measure_gradients_every=0", *assignments)
    module = trainer.module.double().train()
    term = module.terms["contrastive"]
    generator = torch.Generator().manual_seed(1)
    fixed = torch.randn(8, 16, dtype=torch.float64, generator=generator)

    def turned(forward):
        return -term(forward)[0] - (fixed * forward.text_embeds).sum(), {}

    module.terms["contrastive"] = turned
    parameters = trained_parameters(module)
    _, parts = trainer._backward(batch_of(8), list(parameters.values()))
    tower = trainer.base.clip.text_model.named_parameters()
    within = {f"clip.text_model.{name}" for name, _ in tower}
    return parts, {name: p.grad for name, p in parameters.items()}, within


def assert_close(gradients, expected, names):
    for name in names:
        scale = 1e-10 * float(expected[name].abs().max()) + 1e-14
        close = partial(torch.allclose, rtol=1e-9, atol=scale)
        assert close(gradients[name], expected[name]), name


def test_pcgrad_takes_the_conflict_out_of_the_text_tower_alone(tiny_base):
    _, plain, within = opposed_gradients(tiny_base)
    parts, projected, _ = opposed_gradients(tiny_base, "train.pcgrad=true")
    # Or this test tests nothing.
    assert parts["gradient_cosine"] < 0
    assert_close(projected, plain, plain.keys() - within)
    changed = (not torch.allclose(projected[n], plain[n], rtol=1e-3) for n in within)
    assert any(changed)


def test_pcgrad_by_chunks_is_the_same(tiny_base):
    _, projected, _ = opposed_gradients(tiny_base, "train.pcgrad=true")
    _, chunked, _ = opposed_gradients(tiny_base, "train.pcgrad=true", "train.chunk=3")
    assert_close(chunked, projected, projected)


def test_pcgrad_without_two_readers_is_refused(tiny_base):
    with pytest.raises(UsageError, match="pcgrad"):
        trainer_of(tiny_base, "train.pcgrad=true", name="clip-only")
