"""The image tower's last stage: blends, new crops, and whose answers the tower learns."""

import numpy as np
import pytest
import torch

from pretraining import clip, data, distillation, teacher
from pretraining.photos import VIEWS
from pretraining.tokenizer import make_tokenizer
from tests.support.nano_sources import write_sources

pytest.importorskip("resvg_py")


class MeanColour:
    """A teacher whose features are the mean colour, where EfficientNet's would take a minute."""

    def of(self, pixels, photo):
        features = torch.zeros(len(pixels), teacher.SIZE)
        features[:, :3] = torch.from_numpy(pixels.mean((1, 2))).float()
        return features * torch.from_numpy(photo)[:, None]


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    sources = write_sources(tmp_path_factory.mktemp("sources"))
    folder = tmp_path_factory.mktemp("arrays")
    data.prepare(folder, sources / "photos", sources / "mnist", renders=24)
    return folder


@pytest.fixture(scope="module")
def mixture(arrays):
    return data.Mixture(arrays, {"renders": 0.4, "photos": 0.4, "dyed": 0.2}, views=VIEWS)


@pytest.fixture(scope="module")
def tokenizer(mixture):
    return make_tokenizer(mixture.captions())


@pytest.fixture
def batch(arrays, mixture, tokenizer):
    crops = data.NewCrops(arrays, mixture)
    return distillation.batches(mixture, crops, tokenizer, MeanColour())(np.random.default_rng(0))


@pytest.fixture
def loss(tokenizer):
    torch.manual_seed(0)
    return distillation.Distillation(clip.Contrast(clip.make_clip("scorer", tokenizer))).eval()


def test_a_photo_is_as_much_of_another_as_was_blended_into_it():
    n = 64
    pixels = np.tile(np.arange(n, dtype=np.uint8)[:, None, None, None], (1, 8, 8, 3))
    photos = np.arange(0, n, 2)
    mixed, shares = distillation.blended(pixels, photos, np.random.default_rng(0))
    assert np.allclose(mixed[:, 3, 5, 1], shares.numpy() @ np.arange(n), atol=1e-4)
    of_two = (shares > 0).sum(1) == 2
    assert abs(of_two[::2].float().mean() - distillation.BLENDED) < 0.2 and not of_two[1::2].any()
    assert not (shares[::2, 1::2] > 0).any()


def test_a_photo_is_cropped_anew_and_nothing_else_is(arrays, mixture):
    picks = mixture.pick(40, np.random.default_rng(0))
    crops = data.NewCrops(arrays, mixture)
    first, second = (crops.pixels(picks, np.random.default_rng(i)) for i in (1, 2))
    alike = [np.array_equal(a, b) for a, b in zip(first, second, strict=True)]
    assert alike == [p.source != "photos" for p in picks]
    # Of the same photo, so of its colours.
    assert abs(first.mean() - mixture.pixels(picks).mean()) < 15


def test_the_network_is_asked_about_the_pixels_that_the_tower_sees(batch):
    mean, std = (torch.tensor(v) for v in (clip.PROCESSOR.image_mean, clip.PROCESSOR.image_std))
    shown = (batch["x"].mean((2, 3)) * std + mean) * 255
    photo = batch["photo"] > 0
    assert torch.allclose(batch["features"][photo, :3], shown[photo], atol=0.1)
    assert not batch["features"][~photo].any() and not photo.all()


def gradient(loss, batch):
    loss.zero_grad()
    scalars = loss(batch)
    (scalars["loss"] - scalars["reading"]).backward()
    return loss.contrast.clip.visual_projection.weight.grad.clone()


def test_the_tower_learns_what_is_read_of_photos_and_not_what_their_captions_say(loss, batch):
    before = gradient(loss, batch)
    photo = batch["photo"] > 0
    others = batch["shares"].clone()
    others[photo] = others[photo].roll(1, 0)
    # The captions of the photos are those of others: nothing changes for the tower.
    assert torch.allclose(gradient(loss, batch | {"shares": others}), before, atol=1e-6)
    with torch.no_grad():
        loss.reading.weight.normal_()
    assert not torch.allclose(gradient(loss, batch), before, atol=1e-3)


def test_the_reading_layer_learns_the_captions_of_photos_and_the_text_tower_nothing(loss, batch):
    batch["features"] = torch.nn.functional.one_hot(torch.arange(clip.BATCH), teacher.SIZE).float()
    optimiser = torch.optim.Adam(loss.reading.parameters(), lr=0.01)
    figures = []
    for _ in range(30):
        optimiser.zero_grad()
        reading = loss(batch)["reading"]
        reading.backward()
        optimiser.step()
        figures.append(reading.item())
    assert figures[-1] < 0.8 * figures[0]
    text = loss.contrast.clip.text_model.parameters()
    assert all(p.grad is None for p in text)


@pytest.mark.slow
def test_a_network_that_is_asked_about_pixels_knows_them_and_is_silent_of_others(mixture):
    network, pixels = teacher.OnlineTeacher(mixture), mixture.sources["photos"].pixels[:20, 0]
    seen = network.of(pixels, np.tile([True, False], 10))
    assert not seen[1::2].any() and 0.6 < float(seen[::2].std()) < 1.4
    again = network.of(pixels[:1], np.array([True]))
    assert torch.allclose(again[0], seen[0], atol=0.1)
