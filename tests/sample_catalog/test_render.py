"""The renderer: an image shows what its look says, and the same look is the same image."""

import random
from dataclasses import replace

import pytest

from unidiff_cli.sample_catalog import (
    COLORS,
    HOUSE_COLORS,
    HOUSE_CUTS,
    OBJECTS,
    PATTERNS,
    TYPES,
    random_look,
    random_object,
    render,
    stock,
)
from unidiff_cli.sample_catalog.look import palette

pytest.importorskip("resvg_py")


@pytest.fixture(scope="module")
def shop_looks():
    """The looks of the default shop; nothing is rendered."""
    return [look for _, look in stock()]


def colour_of(look):
    """The name, of the look's palette, nearest to its cloth in the image."""
    from PIL import ImageStat

    from unidiff_cli.sample_catalog.fabric import distances
    from unidiff_cli.sample_catalog.studio import silhouette

    cloth = silhouette(look, 64).point([0] * 250 + [255] * 6)
    away = distances(ImageStat.Stat(render(look, 64), cloth).median, palette(look))
    return min(away, key=away.get)


@pytest.mark.parametrize("type_", TYPES)
def test_every_type_renders_in_every_pattern(type_):
    rng = random.Random(type_)
    looks = [
        random_look(rng, type=type_, pattern=pattern, view=rng.choice(("front", "back")))
        for pattern in PATTERNS
    ]
    assert len({render(look, 64).tobytes() for look in looks}) == len(PATTERNS)


@pytest.mark.parametrize("type_", TYPES)
def test_every_type_renders_from_near(type_):
    image = render(random_look(random.Random(type_), type=type_, view="detail"), 64)
    assert image.mode == "RGB" and image.size == (64, 64)


@pytest.mark.parametrize("type_", TYPES)
def test_every_word_of_a_type_changes_the_image(type_):
    kind = TYPES[type_]
    look = random_look(random.Random(0), type=type_, view="front", setting="studio")
    for field, choices in (
        ("sleeve", kind.sleeves),
        ("length", kind.lengths),
        ("neckline", kind.necklines),
    ):
        images = {render(replace(look, **{field: choice}), 64).tobytes() for choice in choices}
        assert len(images) == len(choices), f"{type_}: {field}"


@pytest.mark.parametrize("color", COLORS)
def test_the_garment_is_nearest_to_the_colour_it_is_called(color):
    rng = random.Random(color)
    for type_ in TYPES:
        look = random_look(rng, type=type_, color=color, pattern="plain")
        assert colour_of(look) == color, f"{look}"


@pytest.mark.parametrize("thing", OBJECTS)
def test_an_object_has_the_colour_it_is_called(thing):
    rng = random.Random(thing)
    for color in OBJECTS[thing].colors:
        look = random_object(rng, type=thing, color=color, pattern="plain")
        assert render(look, 64).mode == "RGB" and render(look, 64).size == (64, 64)
        assert colour_of(look) == color, f"{look}"


@pytest.mark.parametrize("color", HOUSE_COLORS)
def test_a_house_colour_is_nearest_to_itself(shop_looks, color):
    looks = [
        look
        for look in shop_looks
        if (look.color, look.pattern, look.view) == (color, "plain", "front")
    ]
    assert len(looks) > 4
    for look in looks[:8]:
        assert colour_of(look) == color, f"{look}"


@pytest.mark.parametrize(("maker", "kinds"), [(random_look, TYPES), (random_object, OBJECTS)])
def test_a_thing_is_whole_and_fills_the_frame(maker, kinds):
    from unidiff_cli.sample_catalog.studio import silhouette

    for type_ in kinds:
        look = maker(random.Random(type_), type=type_, view="front")
        left, top, right, bottom = silhouette(look, 128).getbbox()
        assert min(left, top, 128 - right, 128 - bottom) > 0, f"{look}"
        # What sticks out, such as a stem, wheels or a straw, takes its part of the frame too.
        assert max(right - left, bottom - top) > 0.75 * look.scale * 128, f"{look}"


@pytest.mark.parametrize("color", COLORS)
def test_plain_cloth_has_folds_and_a_lamp_on_one_side(color):
    from PIL import ImageStat

    pose = {"view": "front", "setting": "studio", "scale": 1, "angle": 0, "dx": 0, "dy": 0}
    pose |= {"type": "skirt", "color": color, "pattern": "plain", "mirror": False, "length": "midi"}
    looks = [random_look(random.Random(1), light=light, **pose) for light in (-0.9, 0.9)]
    # A band across the middle of the skirt: no seam there, so flat dye would spread by its noise
    # alone, 2 levels.
    bands = [render(look, 128).convert("L").crop((38, 70, 90, 80)) for look in looks]
    assert min(ImageStat.Stat(band).stddev[0] for band in bands) > 4
    left = [ImageStat.Stat(band.crop((0, 0, 26, 10))).mean[0] for band in bands]
    right = [ImageStat.Stat(band.crop((26, 0, 52, 10))).mean[0] for band in bands]
    assert left[0] - right[0] > left[1] - right[1] + 1


def test_the_same_look_is_the_same_image():
    look = random_look(random.Random(3))
    assert render(look, 96).tobytes() == render(look, 96).tobytes()


def test_another_shade_is_another_image():
    look = random_look(random.Random(3))
    other = replace(look, shade=look.shade + 1)
    assert render(look, 96).tobytes() != render(other, 96).tobytes()


CUTS = [(cut, type_) for cut, types in HOUSE_CUTS.items() for type_ in types]


@pytest.mark.parametrize(("cut", "type_"), CUTS)
def test_a_cut_shows_at_nanos_size(shop_looks, cut, type_):
    from PIL import ImageChops

    look = next(
        look
        for look in shop_looks
        if (look.type, look.view) == (type_, "front") and look.color != "white"
    )
    look = replace(look, sleeve=look.sleeve and "long", pattern="plain", cut="")
    changed = ImageChops.difference(render(look, 64), render(replace(look, cut=cut), 64))
    assert sum(changed.convert("L").histogram()[40:]) > 0.015 * 64 * 64
