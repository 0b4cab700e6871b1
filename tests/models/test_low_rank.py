"""Adapters of low rank: they change nothing at first, and as merged weights compute the same."""

import pytest
import torch

from tests.support.adapters import adapters_in
from tests.support.batches import batch_of
from unidiff_cli.errors import UsageError
from unidiff_cli.models import loading
from unidiff_cli.models.low_rank import Unadapted, blended, layer_of
from unidiff_cli.models.weights import Shares

KINDS = ["attention", "linear", "convolutions"]
WORDS = ["red dress", "a hat"]


@pytest.fixture
def base(tiny_base):
    return loading.load_base(str(tiny_base), 32)


@torch.no_grad()
def outputs(base):
    """What the towers and the denoiser make of two images."""
    batch = batch_of(2)
    text = base.encode_text(WORDS)
    mean = batch.latents[:, :4]
    denoised = base.denoise(mean, torch.tensor([3, 700]), text)
    return torch.cat(
        [x.flatten() for x in (text.states, base.encode_images(batch.clip_pixels), denoised)]
    )


@pytest.mark.parametrize("dora", [False, True])
def test_fresh_adapters_compute_what_the_base_does(base, dora):
    before = outputs(base)
    adapters_in(base, moved=False, targets=KINDS, dora=dora)
    torch.testing.assert_close(outputs(base), before, atol=2e-5 if dora else 0, rtol=0)


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("alpha", [None, 1.5])
def test_merged_weights_compute_what_the_adapters_do(base, dora, alpha):
    start = {name: x.clone() for name, x in base.state_dict().items()}
    before = outputs(base)
    adapters = adapters_in(base, targets=KINDS, dora=dora, alpha=alpha)
    tuned = outputs(base)
    assert (tuned - before).abs().max() > 0.05
    weights = adapters.taken_out()
    # Asked again they are the same.
    assert all(torch.equal(weights[name], x) for name, x in weights.items())
    # The base is as it was, to the last bit and by its own names.
    assert base.state_dict().keys() == start.keys()
    assert all(torch.equal(x, start[name]) for name, x in base.state_dict().items())
    base.load_state_dict({**start, **weights})
    torch.testing.assert_close(outputs(base), tuned, atol=2e-4, rtol=0)


def test_the_base_computes_without_them_as_a_frozen_copy_would(base):
    frozen, pixels = base.frozen(), batch_of(2).clip_pixels
    adapters = adapters_in(base)
    trained = [p.requires_grad for p in adapters.named_parameters().values()]
    with torch.no_grad():
        texts = frozen.encode_text(WORDS).embeds, Unadapted(adapters).encode_text(WORDS).embeds
        images = frozen.encode_images(pixels), Unadapted(adapters).encode_images(pixels)
        assert torch.equal(*texts) and torch.equal(*images)
        assert not torch.allclose(base.encode_images(pixels), images[0], atol=1e-3)
    assert [p.requires_grad for p in adapters.named_parameters().values()] == trained


def test_ranks_and_targets_are_the_towers_own(base):
    own = {"vision": {"rank": 5, "targets": ["fc1"]}, "text": {"targets": ["linear"]}}
    adapters = adapters_in(base, towers=["vision", "text"], **own)
    shapes = {name: tuple(p.shape) for name, p in adapters.named_parameters().items()}
    assert all(x[0] == (5 if "vision" in n else 3) for n, x in shapes.items() if "lora_A" in n)
    layers = {layer_of(name) for name in shapes}
    assert {n.rpartition(".")[2] for n in layers if "vision" in n} == {"fc1"}
    assert {"clip.text_projection", "clip.text_model.encoder.layers.1.mlp.fc2"} <= layers
    assert not any(name.startswith("unet") for name in layers)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"targets": ["q_prj"]}, r"train.lora.targets names 'q_prj', .* Did you mean 'q_proj'\?"),
        ({"text": {"targets": ["to_q"]}}, "train.lora.text.targets names 'to_q', and no layer"),
        ({"targets": ["to_q"]}, "train.lora.targets names no layer of the vision tower"),
    ],
)
def test_a_target_that_is_no_layer_is_refused_before_anything_changes(base, options, sentence):
    with pytest.raises(UsageError, match=sentence):
        adapters_in(base, **options)
    assert not any(layer_of(name) for name in base.state_dict())


def test_gradient_checkpointing_leaves_the_adapters_gradients_as_they_are(base):
    adapters, gradients = adapters_in(base), []
    for checkpointed in (False, True):
        base.prepare_for_training(gradient_checkpointing=checkpointed)
        base.train().requires_grad_(False)
        for parameter in adapters.named_parameters().values():
            parameter.grad = None
            parameter.requires_grad_(True)
        batch = batch_of(2)
        text = base.encode_text(WORDS)
        noised = base.denoise(batch.latents[:, :4], torch.tensor([3, 700]), text)
        embeds = text.embeds.sum() + base.encode_images(batch.clip_pixels).sum()
        (noised.square().sum() + embeds).backward()
        gradients.append([p.grad.clone() for p in adapters.named_parameters().values()])
    for plain, again in zip(*gradients, strict=True):
        assert plain.abs().max() > 0
        torch.testing.assert_close(again, plain, atol=1e-5, rtol=1e-4)


def test_a_blend_multiplies_each_towers_b_with_its_share(base):
    factors = adapters_in(base, alpha=6.0).factors()
    half = blended(factors, Shares(clip=0.5, denoiser=0.25))
    for key, tensor in factors.tensors.items():
        share = 1 if "lora_A" in key else 0.25 if key.startswith("unet.") else 0.5
        torch.testing.assert_close(half.tensors[key], tensor * share)


def test_a_blend_of_dora_is_none(base):
    factors = adapters_in(base, dora=True).factors()
    assert blended(factors, Shares(0.5, 1.0)) is None and blended(factors, Shares()) is factors
