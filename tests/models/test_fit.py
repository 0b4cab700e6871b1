"""How CLIP sees images that are not square: in training, saved, and in plain transformers."""

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.projects import load_recipe
from unidiff_cli.errors import WorkError
from unidiff_cli.models.clip import Clip, image_processor, pixels, square
from unidiff_cli.models.fit import fit_of, fitted
from unidiff_cli.models.loading import load_recipe_base
from unidiff_cli.models.siglip import siglip_square

FITS = ("crop", "pad", "stretch")


def portrait(width=40, height=60):
    """Red above, green in the middle third, blue below."""
    image = np.zeros((height, width, 3), np.uint8)
    for third in range(3):
        image[third * height // 3 : (third + 1) * height // 3, :, third] = 255
    return Image.fromarray(image)


def colours_down_the_middle(seen):
    """The strongest channel of each row, in the middle column."""
    return seen[0, :, :, seen.shape[-1] // 2].argmax(0).tolist()


@pytest.fixture(scope="module")
def loaded(load_tiny):
    return load_tiny("sd1")


@pytest.fixture(params=FITS)
def fit(request):
    return request.param


def test_a_square_image_is_seen_alike(loaded, fit):
    before = loaded.clip_pixels([portrait(60, 60)])
    loaded.fit_images(fit)
    assert torch.equal(loaded.clip_pixels([portrait(60, 60)]), before)


@pytest.mark.parametrize("size", [(64, 64), (64, 48), (60, 60)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_pixels_are_those_of_the_processor(fit, size, mode):
    """Squares of its side, too, which it is not asked about."""
    noise = np.random.default_rng(0).integers(0, 256, (3, size[1], size[0], 3), np.uint8)
    images = [Image.fromarray(image).convert(mode) for image in noise]
    for processor in (fitted(square(64), fit, 64), siglip_square(64)):
        given = processor(images, do_rescale=False, do_normalize=False, return_tensors="pt")
        assert torch.equal(pixels(processor, images), given["pixel_values"].to(torch.uint8))


def test_what_is_seen_of_a_portrait_photo(loaded, fit):
    loaded.fit_images(fit)
    seen = loaded.clip_pixels([portrait()])
    rows = colours_down_the_middle(seen)
    side = len(rows)
    thirds = [rows.count(channel) / side for channel in range(3)]
    # A crop to the middle two thirds of the height loses half of the first and the last third.
    expected = [0.25, 0.5, 0.25] if fit == "crop" else [1 / 3] * 3
    assert thirds == pytest.approx(expected, abs=2 / side)
    left = seen[0, :, :, 0].amax()
    assert (left == 0) == (fit == "pad")


def test_a_saved_model_sees_the_same_in_plain_transformers(loaded, fit, tmp_path):
    from transformers import CLIPImageProcessor, CLIPModel

    loaded.fit_images(fit)
    image = portrait(33, 57)
    with torch.no_grad():
        ours = loaded.encode_images(loaded.clip_pixels([image]))
        loaded.clip.save_pretrained(tmp_path)
        loaded.clip_processor.save_pretrained(tmp_path)
        values = CLIPImageProcessor.from_pretrained(tmp_path)(image, return_tensors="pt")
        plain = CLIPModel.from_pretrained(tmp_path).get_image_features(**values)
    plain = getattr(plain, "pooler_output", plain)
    assert torch.allclose(ours, torch.nn.functional.normalize(plain, dim=-1), atol=2e-3)
    again = image_processor(tmp_path, loaded.clip)
    assert fit_of(again) == fit
    assert torch.equal(pixels(again, [image]), loaded.clip_pixels([image]))


def test_resizing_with_gradient_sees_the_same(loaded, fit):
    loaded.fit_images(fit)
    image = Image.fromarray(
        np.tile(np.linspace(0, 255, 50).astype(np.uint8)[:, None, None], (1, 70, 3))
    )
    exact = loaded.clip_pixels([image]).float()
    smooth = loaded.clip_resize(torch.tensor(np.array(image)).permute(2, 0, 1)[None].float())
    # Of a side that is no whole number of pixels the two round differently.
    rows = slice(2, -2) if fit != "pad" else slice(9, -9)
    assert (exact - smooth)[:, :, rows].abs().mean() < 6


def test_an_image_of_which_nothing_would_be_left_is_refused(loaded):
    loaded.fit_images("pad")
    with pytest.raises(WorkError, match="too narrow"):
        loaded.clip_pixels([Image.new("RGB", (1, 500))])


def test_siglip_sees_images_in_each_way(fit):
    processor = fitted(siglip_square(32), fit, 32)
    seen = pixels(processor, [portrait()])
    assert seen.shape == (1, 3, 32, 32) and fit_of(processor) == fit
    assert (seen[0, :, :, 0].amax() == 0) == (fit == "pad")


def test_a_recipe_says_how(tiny_base):
    assert fit_of(load_recipe_base(load_recipe(tiny_base)).clip_processor) == "crop"
    padded = load_recipe_base(load_recipe(tiny_base, "train.fit=pad"))
    plain = load_recipe_base(load_recipe(tiny_base))
    assert fit_of(padded.clip_processor) == "pad"
    assert padded.clip_preprocessing != plain.clip_preprocessing


@pytest.mark.slow
def test_an_export_sees_images_as_its_training_did(project, tiny_base):
    from unidiff_cli import export, index, train

    recipe = load_recipe(tiny_base, "train.fit=pad", "train.steps=2")
    run, _ = train(project, recipe)
    name, _ = export(project, run)
    index(project)
    clip = Clip.read(project.path("exports", name, "clip"))
    assert fit_of(clip.clip_processor) == "pad"
    # A run on top of it goes on in the same way.
    again = load_recipe(project.path("exports", name))
    assert fit_of(load_recipe_base(again).clip_processor) == "pad"
