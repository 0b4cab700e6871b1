"""Nano's data is what it says: colours, hold-outs, shares of a batch, words of a caption."""

import random

import numpy as np
import pytest
import torch

from pretraining import clip, data, teacher
from pretraining.colors import COLOURS, lab
from pretraining.fashion_mnist import dyed
from pretraining.images import Images, shrunk
from pretraining.photos import CROPS, VIEWS
from pretraining.renderings import OBJECTS_SHARE
from pretraining.tokenizer import make_tokenizer
from tests.support.nano_sources import write_sources
from unidiff_cli.sample_catalog import caption, held_out, random_look

pytest.importorskip("resvg_py")


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    return write_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def arrays(sources, tmp_path_factory):
    """The folder of all sets, of 24 renderings."""
    folder = tmp_path_factory.mktemp("arrays")
    data.prepare(folder, sources / "photos", sources / "mnist", 24)
    return folder


@pytest.fixture(scope="module")
def features(arrays):
    """A folder of made-up features, where EfficientNet's would take a minute."""
    folder = arrays / "teacher"
    folder.mkdir()
    for name in teacher.SOURCES:
        shape = (*Images.load(arrays / name).pixels.shape[:2], teacher.SIZE)
        values = np.random.default_rng(0).normal(3, 2, shape)
        np.save(folder / f"{name}.npy", values.astype(np.float16))
    return folder


@pytest.fixture(scope="module")
def mixture(arrays):
    return data.Mixture(arrays, {"renders": 0.75, "photos": 0.25}, views=VIEWS)


def test_dyed_images_show_the_colour_they_name(sources):
    images = dyed(sources / "mnist", range(40))
    assert images.pixels.shape == (40, 1, 128, 128, 3) and images.pixels.dtype == np.uint8
    assert "a photo of" in images.captions[0][0]
    right = 0
    for pixels, captions in zip(images.pixels[:, 0], images.captions, strict=True):
        name = next(word for word in captions[0].split() if word in COLOURS)
        middle = lab(pixels[52:76, 52:76].reshape(-1, 3).mean(0)[None])
        gaps = {
            colour: np.linalg.norm(middle - lab(np.array([rgb], float)))
            for colour, rgb in COLOURS.items()
        }
        right += name in sorted(gaps, key=gaps.get)[:2]
    # The discs are lit from dark to bright, so neighbours in lightness are confused.
    assert right >= 34


def test_renderings_never_show_a_held_out_pair():
    for seed in range(300):
        rng = random.Random(seed)
        if rng.random() >= OBJECTS_SHARE:
            look = random_look(rng)
            assert not held_out(look), caption(look, rng)


@pytest.mark.slow
def test_test_photos_have_one_view(arrays):
    photos = Images.load(arrays / "photos-test")
    assert len(photos) == 10 and photos.pixels.shape[1] == 1


def test_a_mixture_gives_each_source_its_share_and_the_views_asked_for(mixture):
    picks = mixture.pick(4_000, np.random.default_rng(0))
    share = np.mean([p.source == "photos" for p in picks])
    assert abs(share - 0.25) < 0.03
    assert {p.view for p in picks if p.source == "photos"} == set(range(VIEWS))
    assert {p.view for p in picks if p.source == "renders"} == {0}
    assert mixture.pixels(picks[:8]).shape == (8, 128, 128, 3)


def test_the_words_of_a_batch_are_a_distribution_over_the_captions_words(mixture, features):
    tokenizer = make_tokenizer(mixture.captions())
    teach = teacher.Teacher(features, mixture)
    batch = clip.batches(mixture, tokenizer, teach)(np.random.default_rng(0))
    assert batch["x"].shape == (clip.BATCH, 3, 128, 128)
    assert torch.allclose(batch["words"].sum(1), torch.ones(clip.BATCH), atol=1e-5)
    first = mixture.pick(clip.BATCH, np.random.default_rng(0))[0]
    captions = mixture.sources[first.source].captions[first.row]
    tokens = {token for ids in tokenizer(captions).input_ids for token in ids}
    assert set(batch["words"][0].nonzero().flatten().tolist()) <= tokens


def test_a_teacher_says_what_it_saw_of_a_view_and_nothing_of_dyed_images(arrays, features):
    sources = data.Mixture(arrays, {"photos": 0.7, "dyed": 0.3}, views=VIEWS + CROPS)
    picks = sources.pick(200, np.random.default_rng(0))
    seen, known = teacher.Teacher(features, sources).of(picks)
    assert known.tolist() == [float(p.source == "photos") for p in picks]
    assert not seen[known == 0].any()
    # Normalised over all first views: about as far from the mean as others are.
    assert 0.8 < float(seen[known == 1].std()) < 1.2
    again, _ = teacher.Teacher(features, sources).of([picks[int(known.argmax())]])
    assert torch.equal(again[0], seen[int(known.argmax())])


def test_a_smaller_image_is_the_mean_of_squares():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    small = shrunk(pixels, 4)
    assert small.shape == (2, 4, 4, 3) and small.dtype == np.uint8
    assert abs(int(small[1, 2, 3, 0]) - pixels[1, 4:6, 6:8, 0].mean()) <= 0.5
    assert shrunk(pixels, 8) is pixels
