"""A tower that does not fit into memory: fewer rows at a time, and the same gradient."""

import pytest
import torch

from tests.support.batches import batch_of, with_prior
from tests.support.projects import copy_project, load_recipe, load_whole_recipe
from tests.support.runs import Cut, cut_at, losses
from unidiff_cli import train
from unidiff_cli.data.order import subsample
from unidiff_cli.models import loading
from unidiff_cli.training.module import TrainingModule
from unidiff_cli.training.optimizer import trained_parameters
from unidiff_cli.training.precision import accelerator_of
from unidiff_cli.training.trainer import Trainer


@pytest.fixture
def small_device(monkeypatch):
    """A device on which a denoiser of more than so many rows does not fit; the rows it got."""
    from unidiff_cli.models.families.stable_diffusion import StableDiffusion

    seen, whole = [], StableDiffusion.denoise

    def limited(most):
        def denoise(base, z_t, t, text):
            seen.append(len(z_t))
            if base.training and len(z_t) > most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return whole(base, z_t, t, text)

        monkeypatch.setattr(StableDiffusion, "denoise", denoise)
        return seen

    return limited


def gradients(folder, *assignments, name="fashion"):
    """Those of one batch in float64, by parameter, and how often its rows were halved."""
    recipe = load_whole_recipe(folder, *assignments, name=name)
    module = TrainingModule(loading.load_base(folder, 32), recipe.active(), 0, cached=True).double()
    batch = batch_of(8)
    batch.frozen_image_embeds = torch.nn.functional.normalize(torch.ones(8, 16).double(), dim=1)
    batch.denoise_rows = subsample(batch.positions, 6, 8)
    batch.latents = batch.latents[batch.denoise_rows]
    if module.needs.prior:
        with_prior(batch, every=3)
    with accelerator_of(recipe.train) as accelerator:
        trainer = Trainer(accelerator, module, recipe.train)
        trainer.wrapped.train()
        trained = trained_parameters(module)
        trainer._fitted_backward(batch, list(trained.values()))
    return {name: p.grad.clone() for name, p in trained.items()}, module.halvings


@pytest.mark.parametrize(
    ("name", "assignments"),
    [
        ("fashion", ()),
        pytest.param(
            "product",
            ("train.measure_gradients_every=0", "objectives.consistency.prompt=caption"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "product",
            ("objectives.consistency.kind=decoded", "train.pcgrad=true"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_fewer_rows_at_a_time_give_the_same_gradient(
    tiny_base, small_device, caplog, name, assignments
):
    whole, halvings = gradients(tiny_base, *assignments, name=name)
    assert halvings == 0 and not caplog.messages
    rows = small_device(2)
    parted, halvings = gradients(tiny_base, *assignments, name=name)
    # Six rows, three, two.
    assert halvings == 2 and max(rows) == 6
    scale = max(float(gradient.abs().max()) for gradient in whole.values())
    for parameter, gradient in whole.items():
        assert float((parted[parameter] - gradient).abs().max()) < 1e-12 * scale, parameter
    assert len([text for text in caplog.messages if "Out of memory" in text]) == 1
    assert "CLIP's towers hold 2 rows at a time, and the denoiser 2" in caplog.text


def test_what_does_not_fit_row_by_row_is_an_error(tiny_base, small_device):
    small_device(0)
    with pytest.raises(torch.OutOfMemoryError):
        gradients(tiny_base, name="joint")


@pytest.mark.slow
def test_a_run_goes_on_with_fewer_rows_and_so_does_its_resume(
    project, tiny_base, small_device, caplog
):
    small_device(4)
    recipe = load_recipe(tiny_base, "train.steps=4", "train.checkpoint_every=2")
    whole = copy_project(project, project.root.parent / "whole")
    name, _ = train(whole, recipe)
    assert len([text for text in caplog.messages if "Out of memory" in text]) == 1
    with pytest.raises(Cut):
        train(project, recipe, on_step=cut_at(3))
    train(project, recipe, resume=True)
    assert losses(project, name) == losses(whole, name)
