"""The contracts of models: what any family, schedule, image encoder and added layers must do.

A second implementation is added to the list of its contract and passes the same tests.
"""

from inspect import isabstract

import numpy as np
import pytest
import torch

from tests.support.base import BASES, bases
from tests.support.images import images_of
from unidiff_cli import registry
from unidiff_cli.errors import UsageError
from unidiff_cli.models import loading
from unidiff_cli.models.adapters import AddedLayers
from unidiff_cli.models.base import BaseModel, TextFeatures
from unidiff_cli.models.dual_stream import DualStream
from unidiff_cli.models.encoders import CLIP, DIFFDIS, available_encoders, encoder_of
from unidiff_cli.models.guidance import Guidance
from unidiff_cli.models.schedule import DdpmSchedule, NoiseSchedule
from unidiff_cli.models.sources import resolve_base

CAPTIONS = ["red dress", "a hat", ""]


# ---------------------------------------------------------------- BaseModel


@pytest.fixture(params=bases())
def base(request, load_tiny):
    """A tiny base of each family, and of what is special in one."""
    return load_tiny(request.param)


@pytest.fixture(params=bases("sd1"))
def lender(request, load_tiny):
    """A base for layers and encoders, whose own tests are longer."""
    return load_tiny(request.param)


def test_every_family_is_among_them(tiny_bases):
    """A family without a tiny base would pass this file untested."""
    families = {resolve_base(str(tiny_bases(name)))[1].family() for name in BASES}
    assert families == set(registry.names("models"))


def test_a_family_implements_the_whole_contract(base):
    assert isinstance(base, BaseModel) and not isabstract(type(base))
    assert isinstance(base.schedule, NoiseSchedule) and base.image_size == 32


def test_captions_become_states_and_unit_embeddings(base):
    text = base.encode_text(CAPTIONS)
    assert text.states.shape[0] == 3 and text.states.ndim == 3
    assert text.embeds.shape == (3, base.dimension)
    assert torch.allclose(text.embeds.norm(dim=1), torch.ones(3), atol=1e-5)
    assert text.pooled is None or text.pooled.shape[0] == 3


def test_a_captions_features_do_not_depend_on_the_others(base):
    with torch.no_grad():
        alone, together = base.encode_text(CAPTIONS[:1]), base.encode_text(CAPTIONS)
    assert torch.allclose(alone.states, together.rows([0]).states, atol=1e-5)
    assert torch.allclose(alone.embeds, together.rows([0]).embeds, atol=1e-5)


def test_images_become_unit_embeddings(base):
    pixels = base.clip_pixels(images_of(2))
    assert pixels.dtype == torch.uint8 and pixels.shape[:2] == (2, 3)
    embeds = base.encode_images(pixels)
    assert embeds.shape == (2, base.dimension)
    assert torch.allclose(embeds.norm(dim=1), torch.ones(2), atol=1e-5)


def test_the_transforms_are_the_image_functions_without_the_weights(base):
    import pickle

    images = images_of(2)
    transforms = pickle.loads(pickle.dumps(base.transforms()))
    assert torch.equal(transforms["clip_pixels"](images), base.clip_pixels(images))
    assert torch.equal(transforms["diffusion_pixels"](images), base.diffusion_pixels(images))


def test_images_become_latents_and_back(base):
    pixels = base.diffusion_pixels(images_of(2))
    assert pixels.shape == (2, 3, base.image_size, base.image_size)
    mean, std = base.encode_latents(pixels)
    assert mean.shape == std.shape == (2, *base.latent_shape) and (std > 0).all()
    assert not mean.requires_grad
    latents = mean.requires_grad_()
    decoded = base.decode_latents(latents)
    assert decoded.shape == pixels.shape and 0 <= decoded.min() and decoded.max() <= 255
    decoded.sum().backward()
    assert latents.grad is not None


def test_the_decoder_holds_few_images_at_a_time(base, monkeypatch):
    z, held = torch.randn(5, *base.latent_shape), []
    whole, decode = base.decode_latents(z), base.vae.decode

    def recorded(latents, **options):
        held.append(len(latents))
        return decode(latents, **options)

    monkeypatch.setattr(base.vae, "decode", recorded)
    monkeypatch.setattr("unidiff_cli.models.latent_diffusion.PIXELS", 2 * base.image_size**2)
    assert torch.allclose(base.decode_latents(z), whole, atol=1e-3) and held == [2, 2, 1]
    monkeypatch.setattr("unidiff_cli.models.latent_diffusion.PIXELS", 1)
    assert torch.allclose(base.decode_latents(z), whole, atol=1e-3) and held[3:] == [1] * 5


def test_the_denoiser_predicts_and_shows_its_features(base):
    z, t = torch.randn(3, *base.latent_shape), torch.tensor([0, 500, len(base.schedule) - 1])
    text = base.encode_text(CAPTIONS)
    with torch.no_grad():
        prediction, features = base.denoise_with_features(z, t, text)
        assert torch.equal(prediction, base.denoise(z, t, text)) and prediction.shape == z.shape
        for layer, whole in features.items():
            half = base.features(z, t, text, layer)
            assert half.shape[:2] == (3, base.feature_width(layer)) and half.ndim == 4
            assert torch.allclose(half, whole, atol=1e-5)
    assert features


def test_generated_images_depend_on_prompt_and_seed_only(base):
    options = {"steps": 2, "guidance": Guidance(2.0)}
    pair = base.generate(["red dress", "a hat"], [3, 4], **options)
    alone = base.generate(["a hat"], [4], **options)
    other = base.generate(["a hat"], [5], **options)
    size = (base.image_size, base.image_size)
    assert [image.size for image in pair] == [size, size] and base.sampler_name
    assert np.abs(np.int16(pair[1]) - np.int16(alone[0])).max() <= 1
    assert np.abs(np.int16(alone[0]) - np.int16(other[0])).max() > 1


def test_every_parameter_of_a_tower_is_the_bases_and_of_one_tower(base):
    groups, known = base.parameter_groups(), {id(p) for p in base.parameters()}
    assert set(groups) == {"vision", "text", "denoiser", "new_layers"}
    listed = [id(p) for parameters in groups.values() for p in parameters]
    assert set(listed) <= known and len(listed) == len(set(listed))
    assert groups["vision"] and groups["text"] and groups["denoiser"]
    assert not groups["new_layers"] and not base.added


def test_the_frozen_copy_has_the_same_embeddings_and_never_trains(base):
    frozen, pixels = base.frozen(), base.clip_pixels(images_of(2))
    # torch's attention, which SigLIP pools by, takes another path where nothing trains.
    assert torch.allclose(frozen.encode_images(pixels), base.encode_images(pixels), atol=1e-6)
    assert torch.equal(frozen.encode_text(CAPTIONS).embeds, base.encode_text(CAPTIONS).embeds)
    assert not any(p.requires_grad for p in frozen.parameters())
    own = {id(p) for p in base.parameters()}
    assert not own & {id(p) for p in frozen.parameters()}


def test_preparing_for_training_changes_no_value(base):
    before = base.weights_hash
    base.prepare_for_training(gradient_checkpointing=True)
    assert base.weights_hash == before


def test_scales_are_what_training_bounds(base):
    assert any(scale is base.logit_scale for scale in base.scales())
    assert all(scale.numel() == 1 for scale in base.scales())


def test_a_saved_base_loads_again_with_the_same_weights(base, tmp_path):
    base.save(tmp_path)
    written = sum(file.stat().st_size for file in tmp_path.rglob("*.safetensors"))
    assert base.saved_bytes == pytest.approx(written, rel=0.1)
    again = loading.load_base(str(tmp_path), base.image_size)
    assert type(again) is type(base) and again.weights_hash == base.weights_hash
    assert again.vision_hash == base.vision_hash
    assert again.preprocessing == base.preprocessing


def test_other_weights_have_another_hash(base):
    before, of_vision = base.weights_hash, base.vision_hash
    with torch.no_grad():
        base.parameter_groups()["denoiser"][0].add_(1)
    assert base.weights_hash != before and base.vision_hash == of_vision


def test_preprocessing_is_plain_data(base):
    import json

    assert json.dumps(base.preprocessing)


# ---------------------------------------------------------------- TextFeatures


def features_of(count, pooled=False):
    generator = torch.Generator().manual_seed(count)
    shapes = [(count, 4, 3), (count, 2), (count, 5)]
    states, embeds, vector = (torch.randn(shape, generator=generator) for shape in shapes)
    return TextFeatures(states, embeds, vector if pooled else None)


def assert_equal(features, other):
    for name in ("states", "embeds", "pooled"):
        value, expected = getattr(features, name), getattr(other, name)
        assert (value is None) == (expected is None)
        assert value is None or torch.equal(value, expected)


@pytest.mark.parametrize("pooled", [False, True])
def test_rows_of_features_put_together_are_the_features(pooled):
    features = features_of(5, pooled)
    parts = [features.rows(slice(0, 2)), features.rows([2]), features.rows([3, 4])]
    assert_equal(TextFeatures.cat(parts), features)


@pytest.mark.parametrize("pooled", [False, True])
def test_replaced_rows_are_the_other_captions(pooled):
    features, other = features_of(3, pooled), features_of(1, pooled)
    mixed = features.replaced(torch.tensor([False, True, False]), other)
    assert_equal(mixed.rows([1]), other)
    assert_equal(mixed.rows([0, 2]), features.rows([0, 2]))


# ---------------------------------------------------------------- NoiseSchedule

SCHEDULES = {
    "ddpm epsilon": lambda: DdpmSchedule(torch.linspace(0.999, 0.01, 100), "epsilon"),
    "ddpm v": lambda: DdpmSchedule(torch.linspace(0.999, 0.0, 100), "v_prediction"),
}


@pytest.fixture(params=SCHEDULES)
def schedule(request):
    return SCHEDULES[request.param]()


@pytest.fixture
def noised(schedule):
    """Latents, noise and timesteps, all but the very last."""
    generator = torch.Generator().manual_seed(0)
    z, eps = (torch.randn(4, 4, 8, 8, generator=generator) for _ in range(2))
    return z, eps, torch.tensor([0, 30, 60, len(schedule) - 2])


def test_a_schedule_is_implemented_whole(schedule):
    assert isinstance(schedule, NoiseSchedule) and not isabstract(type(schedule))
    assert schedule.state_dict() == {}, "a schedule is no part of the weights"


def test_noise_is_added_by_signal_and_sigma(schedule, noised):
    z, eps, t = noised
    factors = (f(t).view(-1, 1, 1, 1) for f in (schedule.signal, schedule.sigma))
    signal, sigma = factors
    assert torch.equal(schedule.add_noise(z, eps, t), signal * z + sigma * eps)


def test_there_is_less_signal_the_later(schedule):
    t = torch.arange(len(schedule))
    assert (schedule.signal(t).diff() < 0).all() and (schedule.sigma(t).diff() > 0).all()
    assert (schedule.snr(t).diff() < 0).all()


def test_embeddings_of_one_dimension_are_noised_alike(schedule):
    e, eps, t = torch.randn(3, 16), torch.randn(3, 16), torch.tensor([0, 50, 90])
    assert schedule.add_noise(e, eps, t).shape == (3, 16)


def test_the_right_prediction_gives_the_clean_latents_back(schedule, noised):
    z, eps, t = noised
    z_t = schedule.add_noise(z, eps, t)
    clean = schedule.predicted_clean(z_t, schedule.target(z, eps, t), t)
    assert torch.allclose(clean, z, atol=1e-3)


def test_an_error_of_the_prediction_is_one_of_the_noise(schedule, noised):
    """A prediction off by δ changes ẑ₀, and by it the noise that z_t amounts to."""
    z, eps, t = noised
    z_t, delta = schedule.add_noise(z, eps, t), 0.1
    clean = schedule.predicted_clean(z_t, schedule.target(z, eps, t) + delta, t)
    signal, sigma = (f(t).view(-1, 1, 1, 1) for f in (schedule.signal, schedule.sigma))
    noise = (z_t - signal * clean) / sigma
    measured = (noise - eps).square().mean(dim=(1, 2, 3))
    expected = schedule.noise_error(torch.full((4,), delta**2), t)
    # At t = 0 there is hardly any noise to tell.
    assert torch.allclose(measured[1:], expected[1:], rtol=1e-2)


def test_loss_weights_are_finite_and_bounded(schedule):
    t = torch.arange(len(schedule))
    weights = schedule.loss_weights(t, gamma=5.0)
    assert weights.shape == t.shape and torch.isfinite(weights).all() and (weights >= 0).all()


def test_shares_of_the_schedule_are_its_timesteps(schedule):
    shares = torch.tensor([0.0, 0.5, 0.999])
    assert schedule.timesteps(shares).tolist() == [0, 50, 99]


def test_a_schedule_moves_with_its_base(schedule):
    assert schedule.double().signal(3).dtype == torch.float64


# ---------------------------------------------------------------- AddedLayers

KINDS = {"dual_stream": DualStream}


@pytest.fixture(params=KINDS)
def layers(request, lender):
    """Fresh layers of each kind, with the base they fit."""
    torch.manual_seed(0)
    return KINDS[request.param].for_base(lender), lender


def test_added_layers_are_implemented_whole(layers):
    added, _ = layers
    assert isinstance(added, AddedLayers) and not isabstract(type(added)) and added.name


def test_attached_layers_count_and_train_with_the_base(layers):
    added, base = layers
    before, known = base.weights_hash, set(base.state_dict())
    base.attach(added)
    assert base.added == {added.name: added} and base.weights_hash != before
    new = set(base.state_dict()) - known
    assert new and all(key.startswith(f"{added.name}.") for key in new)
    groups = base.parameter_groups()
    assert [id(p) for p in groups["new_layers"]] == [id(p) for p in added.parameters()]
    scales = {id(scale) for scale in base.scales()}
    assert {id(scale) for scale in added.scales()} <= scales


def test_attaching_twice_changes_nothing(layers):
    added, base = layers
    base.attach(added)
    state = set(base.state_dict())
    base.attach(added)
    assert set(base.state_dict()) == state and len(base.added) == 1


def test_layers_are_saved_in_their_own_folder_and_come_back(layers, tmp_path):
    added, base = layers
    base.attach(added)
    base.save(tmp_path)
    assert (tmp_path / added.name).is_dir()
    again = loading.load_base(str(tmp_path), base.image_size)
    assert set(again.added) == {added.name} and again.weights_hash == base.weights_hash
    assert type(added).load(tmp_path.parent) is None


def test_layers_refuse_a_base_they_do_not_fit(layers):
    added, _ = layers
    with pytest.raises(UsageError, match="need a base"):
        added.attach(torch.nn.Linear(2, 2))


# ---------------------------------------------------------------- ImageEncoder

ENCODERS = (CLIP, DIFFDIS)


@pytest.fixture(params=ENCODERS)
def encoder(request, lender):
    """Each image encoder, of a base that has all."""
    torch.manual_seed(0)
    lender.attach(DualStream.for_base(lender))
    return encoder_of(lender.eval(), request.param)


def test_an_encoder_gives_unit_embeddings_of_images_and_captions(encoder):
    images, captions = encoder.embed_images(images_of(3)), encoder.embed_captions(CAPTIONS)
    for embeds in (images, captions):
        assert embeds.shape == (3, encoder.dimension) and embeds.dtype == np.float32
        assert np.allclose(np.linalg.norm(embeds, axis=1), 1, atol=1e-5)


def test_an_embedding_does_not_depend_on_the_batch_size(encoder):
    images, progress = images_of(3), []
    whole = encoder.embed_images(images)
    single = encoder.embed_images(images, batch_size=1, on_progress=lambda *at: progress.append(at))
    assert np.allclose(whole, single, atol=1e-4) and progress == [(1, 3), (2, 3), (3, 3)]


def test_nothing_to_embed_gives_no_rows(encoder):
    assert encoder.embed_images([]).shape == (0, encoder.dimension)
    assert encoder.embed_captions([]).shape == (0, encoder.dimension)


def test_rows_of_a_catalogue_are_its_images(encoder, prepared):
    from unidiff_cli.data.batch import open_image
    from unidiff_cli.data.shards import Shards

    shards = Shards.open(prepared.path("shards"))
    rows = shards.rows()[:3]
    embeds = encoder.embed_images([open_image(shards, row) for row in rows])
    assert np.allclose(encoder.embed_rows(shards, rows), embeds, atol=1e-5)


def test_a_batch_in_training_has_the_embeddings_of_its_images(encoder, prepared):
    from unidiff_cli.data.dataset import BatchPlan, Samples
    from unidiff_cli.data.shards import Shards

    shards = Shards.open(prepared.path("shards"))
    rows, transforms = shards.rows("train")[:4], encoder.model.transforms()
    batch = Samples(shards, rows, BatchPlan(4, 0, "listed"), transforms=transforms)[0]
    embeds = encoder.embed_batch(batch).numpy()
    assert np.allclose(embeds, encoder.embed_rows(shards, rows), atol=1e-4)


def test_a_model_without_the_layers_has_no_such_encoder(lender):
    with pytest.raises(UsageError, match="no DiffDis layers"):
        encoder_of(lender, DIFFDIS)


def test_the_encoders_of_an_export_are_seen_by_its_folder(lender, tmp_path):
    lender.attach(DualStream.for_base(lender))
    lender.save(tmp_path)
    assert available_encoders(tmp_path) == [CLIP, DIFFDIS]
    assert available_encoders(tmp_path.parent) == [CLIP]
