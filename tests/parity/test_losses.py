"""Our losses against open_clip's and diffusers' own, on the same numbers."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from unidiff_cli.models.schedule import DdpmSchedule
from unidiff_cli.objectives._losses import relational, symmetric_cross_entropy, targets
from unidiff_cli.objectives.sigmoid import sigmoid_loss


def _unit(n, d, seed):
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return nn.functional.normalize(x, dim=-1).requires_grad_()


def test_contrastive_equals_open_clip_when_every_caption_is_its_own():
    open_clip = pytest.importorskip("open_clip")
    image, text, scale = _unit(12, 16, 0), _unit(12, 16, 1), torch.tensor(14.3, dtype=torch.float64)
    shares, left_out = targets(torch.arange(12), torch.arange(12), "ignore")
    ours = symmetric_cross_entropy(scale * image @ text.T, shares, left_out)
    theirs = open_clip.ClipLoss()(image, text, scale)
    assert torch.allclose(ours, theirs, rtol=1e-12)
    gradients = (torch.autograd.grad(loss, (image, text)) for loss in (ours, theirs))
    for gradient, reference in zip(*gradients, strict=True):
        assert torch.allclose(gradient, reference, rtol=1e-10, atol=1e-14)


def test_equal_captions_are_no_negatives_and_products_are_left_out():
    captions, groups = torch.tensor([1, 1, 2, 3]), torch.tensor([7, 8, 8, 9])
    shares, left_out = targets(captions, groups, "ignore")
    assert shares[0].tolist() == [0.5, 0.5, 0, 0]
    # One product, two captions.
    assert left_out.nonzero().tolist() == [[1, 2], [2, 1]]
    assert not targets(captions, groups, "negative")[1].any()
    positive, _ = targets(captions, groups, "positive")
    assert torch.allclose(positive[1], torch.tensor([1 / 3, 1 / 3, 1 / 3, 0]))
    # With two equal rows the loss of a perfect model goes to ln 2 a row, not to infinity.
    logits = 50.0 * torch.block_diag(torch.ones(2, 2), torch.eye(2))
    assert float(symmetric_cross_entropy(logits, shares, left_out)) == pytest.approx(
        math.log(2) / 2, abs=1e-3
    )


def test_sigmoid_equals_open_clip():
    open_clip_loss = pytest.importorskip("open_clip.loss")
    scale, bias = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (10.0, -10.0))
    inputs = (_unit(12, 16, 0), _unit(12, 16, 1), scale, bias)
    image, text, *_ = inputs
    shares, left_out = targets(torch.arange(12), torch.arange(12), "ignore")
    ours = sigmoid_loss(scale * image @ text.T + bias, shares > 0, left_out)
    theirs = open_clip_loss.SigLipLoss()(*inputs)
    assert torch.allclose(ours, theirs, rtol=1e-12)
    gradients = (torch.autograd.grad(loss, inputs) for loss in (ours, theirs))
    for gradient, reference in zip(*gradients, strict=True):
        assert torch.allclose(gradient, reference, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_denoise_equals_diffusers(tmp_path, prediction):
    """The same latents, noise and timesteps by diffusers' own scheduler.

    The weights are min-SNR's for ε. For v they are ours: diffusers' are 0 where sampling begins.
    """
    from diffusers.training_utils import compute_snr

    from tests.support.base import write_base
    from tests.support.batches import batch_of
    from unidiff_cli.models import loading
    from unidiff_cli.models.forward import ForwardOptions, ForwardPass
    from unidiff_cli.objectives.denoise import Denoise

    base = loading.load_base(str(write_base(tmp_path / "base", prediction=prediction)), 32)
    batch, objective = batch_of(6), Denoise(caption_drop=0.0)
    # Deviation 0: the mean itself.
    batch.latents = torch.cat([torch.randn(6, 4, 8, 8), torch.zeros(6, 4, 8, 8)], dim=1)
    forward = ForwardPass(base, batch, objective.needs, ForwardOptions(seed=3, training=True))
    unet, scheduler = base.unet, base.pipeline.scheduler
    with torch.no_grad():
        ours, _ = objective.loss(forward)
        [seen] = forward.passes
        noisy = scheduler.add_noise(seen.latents, seen.noise, seen.timesteps)
        states = base.encode_text(batch.captions).states
        predicted = unet(noisy, seen.timesteps, states).sample
        if prediction == "epsilon":
            target = seen.noise
        else:
            target = scheduler.get_velocity(seen.latents, seen.noise, seen.timesteps)
        snr = compute_snr(scheduler, seen.timesteps)
        weights = torch.stack([snr, 5.0 * torch.ones_like(snr)], dim=1).min(dim=1)[0] / snr
        if prediction == "v_prediction":
            weights = (5.0 / (snr + 1)).clamp(max=1)
        theirs = ((predicted - target) ** 2).mean(dim=(1, 2, 3)) * weights
    assert torch.allclose(ours, theirs.mean(), rtol=1e-4)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_noisy_timesteps_have_the_whole_weight(prediction):
    """The first steps of sampling decide colour and layout; at zero terminal SNR too."""
    abar = torch.tensor([0.0, 1e-4, 0.5, 0.75, 0.96, 1 - 1e-7])
    weights = DdpmSchedule(abar, prediction).loss_weights(torch.arange(6), 5.0)
    assert weights[:4].tolist() == [1, 1, 1, 1]
    assert 0 < weights[5] < 1e-5 < weights[4] < 0.3


class _Nothing(nn.Module):
    """A denoiser that predicts zeros."""

    def set_attn_processor(self, processor):
        pass

    def forward(self, z, t, states):
        return SimpleNamespace(sample=torch.zeros_like(z))


def test_pretraining_weighs_as_adaptation_does():
    from diffusers import DDPMScheduler

    from pretraining.denoiser import Denoise, make_scheduler

    # nano's sampler has no velocities of its own.
    ddpm = DDPMScheduler.from_config(make_scheduler().config)
    ddpm.alphas_cumprod = make_scheduler().alphas_cumprod
    g = torch.Generator().manual_seed(0)
    x, eps = torch.randn(4, 6, 2, 2, generator=g), torch.randn(4, 6, 2, 2, generator=g)
    t, states = torch.tensor([0, 300, 700, 999]), torch.zeros(4, 1, 1)
    loss = Denoise(_Nothing())({"x": x, "eps": eps, "t": t, "states": states})["loss"]
    schedule = DdpmSchedule(make_scheduler().alphas_cumprod, "v_prediction")
    errors = ddpm.get_velocity(x, eps, t).square().mean((1, 2, 3))
    assert torch.allclose(loss, (schedule.loss_weights(t, 5.0) * errors).mean())


def test_relational_is_invariant_and_zero_when_both_agree_or_collapse():
    g = torch.Generator().manual_seed(0)
    v, u = (
        torch.randn(16, 8, generator=g, dtype=torch.float64),
        torch.randn(16, 12, generator=g, dtype=torch.float64),
    )
    loss = relational(v, u)
    rotation, _ = torch.linalg.qr(torch.randn(8, 8, generator=g, dtype=torch.float64))
    assert loss > 0.1
    assert torch.allclose(relational(3 * v @ rotation + 5, u), loss, rtol=1e-9)
    assert relational(v, 2 * v + 1).abs() < 1e-12
    point = torch.ones(16, 8, dtype=torch.float64)
    # A perfect minimum: it does not prevent collapse.
    assert relational(point, point).abs() < 1e-12
    uncentred = torch.cat([10 * torch.ones(16, 1, dtype=torch.float64), v], dim=1)
    assert torch.allclose(relational(uncentred, u), loss, rtol=1e-9)
    # One-sided: the halves add up, and neither changes with the other's rotation, scale or shift.
    halves = [relational(v, u, to_v=x, to_u=1 - x) for x in (0.0, 1.0)]
    assert torch.allclose(sum(halves), loss, rtol=1e-12)
    for x, half in zip((0.0, 1.0), halves, strict=True):
        moved = relational(3 * v @ rotation + 5, 0.1 * u - 7, to_v=x, to_u=1 - x)
        assert torch.allclose(moved, half, rtol=1e-9)


def test_relational_teaches_both_sides():
    v, u = torch.randn(8, 4, requires_grad=True), torch.randn(8, 6, requires_grad=True)
    relational(v, u).backward()
    assert v.grad.abs().sum() > 0 and u.grad.abs().sum() > 0
