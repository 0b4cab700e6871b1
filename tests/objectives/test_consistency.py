"""Consistency: what each kind costs, which towers it teaches, and the rows that count."""

import pytest
import torch
from torch import nn

from tests.support.batches import batch_of, forward_of, share_of
from tests.support.projects import load_recipe
from unidiff_cli.errors import RecipeError
from unidiff_cli.models import loading
from unidiff_cli.models.denoise_pass import DenoisePass
from unidiff_cli.models.features import FeatureQuery
from unidiff_cli.models.needs import Needs
from unidiff_cli.objectives import needs_of
from unidiff_cli.training.module import TrainingModule
from unidiff_cli.training.optimizer import parameter_groups

KINDS = ("relational", "relational+anchor", "projected", "contrastive", "cross_modal", "decoded")
HEADED = ("projected", "contrastive", "cross_modal")
CAPTION = "objectives.consistency.prompt=caption"


@pytest.fixture
def base(tiny_base):
    return loading.load_base(str(tiny_base), 32)


@pytest.fixture
def calls(base, monkeypatch):
    """How often each part of the base ran."""
    count: dict[str, int] = {}
    for name in ("encode_text", "encode_images", "denoise", "features"):
        whole = getattr(base, name)

        def counted(*args, _name=name, _whole=whole, **options):
            count[_name] = count.get(_name, 0) + 1
            return _whole(*args, **options)

        monkeypatch.setattr(base, name, counted)
    return count


def of_kind(tiny_base, kind, *more):
    return load_recipe(tiny_base, f"objectives.consistency.kind={kind}", *more)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prompt", ["null", "caption"])
def test_the_null_prompt_is_one_more_half_pass_and_the_caption_none(
    base, tiny_base, calls, kind, prompt
):
    asked = (f"objectives.consistency.prompt={prompt}", "objectives.consistency.max_timestep=700")
    recipe = of_kind(tiny_base, kind, *asked)
    module = TrainingModule(base, recipe.active(), seed=0).train()
    total, parts = module(batch_of(8))
    expected = {"encode_text": 1, "encode_images": 1, "denoise": 1}
    # Decoded reads the denoiser's answer: a whole pass, and CLIP at the decoded image.
    if kind == "decoded":
        expected |= {"encode_images": 2, "denoise": 1 if prompt == "caption" else 2}
    elif prompt == "null":
        expected["features"] = 1
    assert calls == expected and torch.isfinite(total)
    if prompt == "caption":
        assert 2 <= parts["consistency_rows"] < 8


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_read_is_not_computed(tiny_base, kind):
    without = ("objectives.denoise=null", "objectives.contrastive=null")
    needs = needs_of(of_kind(tiny_base, kind, *without).active().values())
    assert needs.frozen_image_embeds == (kind == "relational+anchor")
    assert needs.empty_caption and needs.latents
    captioned = needs_of(of_kind(tiny_base, kind, CAPTION, *without).active().values())
    assert not captioned.empty_caption


@pytest.mark.parametrize("layer", ["mid", "up1"])
def test_both_prompts_read_the_same_block(base, layer):
    """The half pass, at the denoise pass's own inputs, gives what the hook sees."""
    text = base.encode_text(["", "a", "b"])
    z, t = torch.randn(3, 4, 8, 8), torch.tensor([5, 100, 299])
    with torch.no_grad():
        _, features = base.denoise_with_features(z, t, text)
        half = base.features(z, t, text, layer)
    assert torch.allclose(half, features[layer], atol=1e-5)
    assert half.shape[:2] == (3, base.feature_width(layer))
    assert not base.unet.mid_block._forward_hooks and not base.unet.up_blocks[1]._forward_hooks


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layer", ["mid", "up1"])
def test_both_sides_and_the_heads_are_taught_and_nothing_else(base, tiny_base, kind, layer):
    trains = "train.trains=[vision, denoiser, new_layers]"
    recipe = of_kind(tiny_base, kind, f"objectives.consistency.layer={layer}", trains)
    module = TrainingModule(base, {"consistency": recipe.active()["consistency"]}, seed=0)
    parameter_groups(module, recipe.train)
    towers = base.parameter_groups()
    # Off the base, where the anchor is not flat.
    with torch.no_grad():
        for p in towers["vision"]:
            p.add_(0.05 * torch.randn_like(p))
    module.train()(batch_of(8))[0].backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in towers["vision"])
    unet, whole = base.unet, kind == "decoded"
    assert unet.conv_in.weight.grad.abs().sum() > 0
    assert (unet.conv_out.weight.grad is not None) == whole
    upper = unet.up_blocks[0].resnets[0].conv1.weight.grad
    assert (upper is not None) == (whole or layer == "up1")
    assert bool(list(module.heads.parameters())) == (kind in HEADED)
    assert all(p.grad.abs().sum() > 0 for p in module.heads.parameters() if p.ndim > 1)
    assert all(p.grad is None for p in [*towers["text"], *base.vae.parameters()])


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_without_a_barely_noised_sample_is_zero_with_a_gradient(base, tiny_base, kind):
    """DDP waits for every parameter's gradient, whatever a step's timesteps are."""
    recipe = of_kind(tiny_base, kind, CAPTION, "objectives.consistency.max_timestep=1")
    module = TrainingModule(base, recipe.active(), seed=0).train()
    parameter_groups(module, recipe.train)
    total, parts = module(batch_of(4))
    total.backward()
    assert parts["consistency"] == 0 and parts["consistency_rows"] == 0
    assert all(p.grad is not None for p in module.heads.parameters())


def test_the_caption_prompt_counts_barely_noised_samples_only(base, tiny_base):
    recipe = of_kind(tiny_base, "projected", CAPTION, "objectives.consistency.max_timestep=600")
    module = TrainingModule(base, recipe.active(), seed=0)
    forward = forward_of(base, batch_of(8), module.needs, training=True)
    near = forward.timesteps < 600
    assert 2 <= near.sum() < 8
    term = module.terms["consistency"]
    with torch.no_grad():
        loss, _ = term(forward)
        v = forward.image_embeds
        u = forward.denoiser_features(FeatureQuery("mid", 600, "caption"))
        cosines = [
            nn.functional.cosine_similarity(a, b)[near].mean()
            for a, b in ((v, term.h_u(u)), (u, term.h_v(v)))
        ]
    assert float(loss) == pytest.approx(-float(sum(cosines)) / 2, rel=1e-5)


def test_decoded_images_are_resized_as_the_processor_does(base):
    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 256, (12, 12, 3)).astype(np.uint8)
    image = Image.fromarray(noise).resize((48, 48), Image.Resampling.BICUBIC)
    by_processor = base.clip_pixels([image]).float()
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
    resized = base.clip_resize(pixels)
    assert resized.shape == by_processor.shape
    assert float((resized - by_processor).abs().max()) <= 1.01


def test_decoded_is_zero_where_the_denoiser_is_right(base, tiny_base, monkeypatch):
    """With ẑ₀ = z the only difference left is the autoencoder's own."""
    recipe = of_kind(tiny_base, "decoded", CAPTION, "objectives.consistency.max_timestep=1000")
    module = TrainingModule(base, recipe.active(), seed=0)
    forward = forward_of(base, batch_of(4), module.needs)
    monkeypatch.setattr(DenoisePass, "denoised", lambda self, *asked: self.latents)
    [seen] = forward.passes
    with torch.no_grad():
        forward.batch.clip_pixels = base.clip_resize(base.decode_latents(seen.latents))
        assert module.terms["consistency"](forward)[0].abs() < 1e-6


# ---------------------------------------------------------------- the empty caption


@pytest.mark.parametrize("kind", KINDS)
def test_the_empty_caption_is_not_trained_by_it(base, tiny_base, kind):
    """The text tower trains, and what guidance subtracts stays as the captions have it."""
    recipe = of_kind(tiny_base, kind)
    module = TrainingModule(base, recipe.active(), seed=0).train()
    parameter_groups(module, recipe.train)
    text = [p for p in base.parameter_groups()["text"] if p.requires_grad]
    assert text
    forward = module.forward_pass(batch_of(8))
    module.terms["consistency"](forward)[0].backward()
    assert all(p.grad is None or not p.grad.any() for p in text)


# ---------------------------------------------------------------- what is compared


def test_a_map_is_rows_of_at_most_four_by_four_places():
    whole = FeatureQuery("mid", 300, form="map")
    x = torch.arange(2 * 3 * 8 * 8.0).view(2, 3, 8, 8)
    assert whole.rows(x).shape == (2, 3 * 16)
    # Of the first channel: the mean of its first two rows and columns.
    assert float(whole.rows(x)[0, 0]) == (0 + 1 + 8 + 9) / 4
    small = x[:, :, :2, :3].half()
    assert torch.equal(whole.rows(small), small.float().flatten(1))
    assert torch.equal(FeatureQuery("mid", 300).rows(x), x.mean(dim=(2, 3)))


def queried(base, batch, **options):
    """The timesteps and the features of a batch."""
    needs = Needs(null_states=True, latents=True)
    forward = forward_of(base, batch, needs, training=True)
    with torch.no_grad():
        [seen] = forward.passes
        _, t = seen._barely_noised(300, options.get("same_timestep", False))
        return t, forward.denoiser_features(FeatureQuery("mid", 300, **options))


def test_one_timestep_for_all_images_of_a_step_and_all_processes(base):
    t, u = queried(base, batch_of(8), form="map", same_timestep=True)
    assert len(t.unique()) == 1 and 0 <= t[0] < 300 and u.shape == (8, 64 * 16)
    later, _ = queried(base, batch_of(8, step=1), same_timestep=True)
    assert later[0] != t[0]
    for rank in range(2):
        own, part = queried(base, share_of(batch_of(8), rank, 2), form="map", same_timestep=True)
        assert torch.equal(own, t[:4])
        assert torch.allclose(part, u[4 * rank : 4 * rank + 4], atol=1e-5)
    mixed, _ = queried(base, batch_of(8))
    assert len(mixed.unique()) > 1


SIDES = [("to_clip", "denoiser"), ("to_denoiser", "vision")]


@pytest.mark.parametrize("kind", ["relational", "relational+anchor", "projected", "cross_modal"])
@pytest.mark.parametrize(("side", "still"), SIDES)
@pytest.mark.parametrize("options", [(), (CAPTION, "objectives.consistency.max_timestep=1000")])
def test_one_side_teaches_and_gets_no_gradient(base, tiny_base, kind, side, still, options):
    other = "to_denoiser" if side == "to_clip" else "to_clip"
    if (kind, side) == ("cross_modal", "to_clip"):
        pytest.skip("its head learns by the other side")
    # The anchor teaches CLIP in any case.
    alone = (f"objectives.consistency.{other}=0", "objectives.consistency.anchor_weight=0")
    recipe = of_kind(tiny_base, kind, *alone, *options)
    objective = recipe.active()["consistency"]
    assert still not in objective.trains or kind == "relational+anchor"
    assert objective.needs.features == (still != "denoiser")
    module = TrainingModule(base, {"consistency": objective}, seed=0).train()
    module.requires_grad_(True)
    base.vae.requires_grad_(False)
    module(batch_of(8))[0].backward()
    gradients = {
        tower: sum(float(p.grad.abs().sum()) for p in parameters if p.grad is not None)
        for tower, parameters in base.parameter_groups().items()
    }
    assert gradients[still] == 0
    assert gradients["vision" if still == "denoiser" else "denoiser"] > 0
    assert all(p.grad is not None for p in module.heads.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("kind=projected", "features=map"), "features: map is of the kinds"),
        (("kind=decoded", "features=map"), "features: map is of the kinds"),
        (("prompt=caption", "same_timestep=true"), "same_timestep is of prompt: null"),
        (("to_clip=0", "to_denoiser=0"), "both 0"),
        (("kind=contrastive", "to_clip=0"), "teaches both sides at once"),
        (("kind=cross_modal", "to_denoiser=0"), "its head learns by it"),
    ],
)
def test_what_does_not_fit_together_is_refused(tiny_base, options, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe(tiny_base, *(f"objectives.consistency.{option}" for option in options))
