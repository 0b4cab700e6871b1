"""Images in other colours: brightness is kept and greys stay grey; what CLIP sees of them."""

import dataclasses

import pytest
import torch

from tests.support.batches import batch_of, forward_of
from unidiff_cli.models import loading
from unidiff_cli.models.augment import GREY, LUMA, recoloured
from unidiff_cli.models.needs import Needs

NEEDS = Needs(image_embeds=True, frozen_image_embeds=True)


@pytest.fixture
def base(tiny_base):
    return loading.load_base(str(tiny_base), 32)


def image_of(*colour):
    return torch.tensor(colour, dtype=torch.uint8)[None, :, None, None].expand(1, 3, 2, 2)


def luma_of(pixels):
    return torch.tensor(LUMA) @ pixels[0, :, 0, 0].float()


@pytest.mark.parametrize("colour", [(255, 255, 255), (90, 90, 90), (0, 0, 0)])
def test_what_has_no_colour_keeps_none(colour):
    for turn in (0.0, 0.3, 0.9):
        assert recoloured(image_of(*colour), torch.tensor([[0.9, turn, 0.5]])).tolist() == (
            image_of(*colour).tolist()
        )


def test_a_colour_turns_to_another_of_the_same_brightness():
    image = image_of(150, 90, 80)
    hues = [recoloured(image, torch.tensor([[0.9, turn, 0.5]])) for turn in (0.0, 0.4, 0.99)]
    for hue in hues:
        assert luma_of(hue) == pytest.approx(luma_of(image), abs=1)
        assert (hue.float() - image.float()).abs().max() > 20
    assert not torch.equal(hues[0], hues[1]) and not torch.equal(hues[1], hues[2])


def test_by_hand():
    """A third of a turn about the axis of greys gives (b, r, g) of the part without brightness."""
    chroma = torch.tensor([150.0, 90, 80]) - luma_of(image_of(150, 90, 80))
    turned = chroma[[2, 0, 1]]
    expected = luma_of(image_of(150, 90, 80)) + turned - torch.tensor(LUMA) @ turned
    # (1 + 4 · 1/4) · π/3 is a third of a turn.
    found = recoloured(image_of(150, 90, 80), torch.tensor([[0.9, 0.25, 0.5]]))[0, :, 0, 0]
    assert found.tolist() == pytest.approx(expected.tolist(), abs=0.5)


def test_some_are_grey_and_some_darker():
    grey = recoloured(image_of(150, 90, 80), torch.tensor([[GREY - 0.01, 0.4, 0.5]]))[0, :, 0, 0]
    assert grey.tolist() == [round(float(luma_of(image_of(150, 90, 80))))] * 3
    dark = recoloured(image_of(200, 200, 200), torch.tensor([[0.9, 0.4, 0.0]]))
    assert dark.tolist() == image_of(140, 140, 140).tolist()


def test_clip_sees_the_changed_images_and_its_frozen_copy_those_of_the_catalogue(base):
    """As the cached embeddings are those of the images as they are."""
    batch = batch_of(6)
    changed = dataclasses.replace(batch, recoloured=[1, 4], cropped=[4, 5])
    plain, seen = (forward_of(base, b, NEEDS, training=True) for b in (batch, changed))
    plain.frozen = seen.frozen = base.frozen()
    moved = (plain.image_embeds - seen.image_embeds).abs().amax(1) > 1e-6
    assert moved.tolist() == [False, True, False, False, True, True]
    assert torch.equal(plain.frozen_image_embeds, seen.frozen_image_embeds)
    again = forward_of(base, changed, NEEDS, training=True)
    assert torch.equal(again.image_embeds, seen.image_embeds)
    assert torch.equal(changed.clip_pixels, batch_of(6).clip_pixels)
