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


@pytest.mark.parametrize("part", [0.0, 0.5])
def test_an_image_is_as_much_of_another_as_its_patch_is_large(part):
    n, side = 64, 128
    pixels = np.tile(np.arange(n, dtype=np.float32)[:, None, None, None], (1, side, side, 3))
    mixed, shares = clip._pasted(pixels, part, np.random.default_rng(0))
    counted = [np.bincount(image[..., 0].astype(int).ravel(), minlength=n) for image in mixed]
    assert np.allclose(np.stack(counted) / side**2, shares.numpy(), atol=1e-6)
    of_two = (shares > 0).sum(1) == 2
    assert abs(of_two.float().mean() - part) < 0.15
    assert (shares.diag() > 0.2).all()


def test_what_is_learned_of_two_images_in_one_is_of_both(arrays, mixture, features):
    tokenizer = make_tokenizer(mixture.captions())
    teach = teacher.Teacher(features, mixture)
    plain, pasted = (
        clip.batches(mixture, tokenizer, teach, part)(np.random.default_rng(0)) for part in (0, 0.9)
    )
    assert torch.equal(plain["shares"], torch.eye(clip.BATCH))
    for name in ("words", "features"):
        assert torch.allclose(pasted[name], pasted["shares"] @ plain[name], atol=1e-6)
    # The right answers of both are as likely as they are large.
    loss = clip.Contrast(clip.make_clip("scorer", tokenizer)).eval()
    assert all(torch.isfinite(value) for value in loss(pasted).values())


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
