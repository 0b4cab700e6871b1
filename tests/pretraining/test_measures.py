"""What measures nano, on inputs whose answers a person can check."""

import colorsys

import numpy as np
import pytest

from pretraining import colors
from pretraining.measures import (
    autoencoder,
    generation,
    likeness,
    neighbours,
    retrieval,
    zero_shot,
)
from pretraining.measures.inputs import PROMPTS_SEED, REAL_SEED, random_prompts
from pretraining.measures.targets import TARGETS, lines
from unidiff_cli.sample_catalog import COLORS, HELD_OUT, TYPES, Look, held_out
from unidiff_cli.sample_catalog.captions import PATTERN_WORDS
from unidiff_cli.sample_catalog.fabric import lab


def square(color, wall=(225, 225, 222)):
    """A square of one color, 24 px wide, before a wall."""
    pixels = np.empty((64, 64, 3), np.uint8)
    pixels[:] = wall
    pixels[20:44, 20:44] = color
    return pixels


# ---------------------------------------------------------------- colours


def test_lab_is_the_renderers():
    rgb = np.array([*COLORS.values(), (0, 0, 0), (255, 255, 255), (3, 9, 11)], float)
    # The renderer rounds its constants.
    assert np.allclose(colors.lab(rgb), [lab(color) for color in rgb], atol=1e-2)


def test_the_garment_is_what_the_rim_is_not():
    mask = generation.garment_mask(square(COLORS["red"]))
    assert mask.sum() == 24 * 24 and mask[20:44, 20:44].all()


@pytest.mark.parametrize("name", COLORS)
def test_a_square_has_its_own_color(name):
    wall = (150, 190, 200) if name in ("white", "gray") else (225, 225, 222)
    assert generation.color_of(square(COLORS[name], wall)) == name


def test_an_image_without_a_garment_has_the_walls_color():
    assert generation.color_of(square((132, 133, 136), wall=(132, 133, 136))) == "gray"


# ---------------------------------------------------------------- autoencoder


def test_psnr_of_a_known_change():
    x = np.full((2, 8, 8, 3), 100, np.uint8)
    assert autoencoder.psnr(x, x + 10) == pytest.approx(20 * np.log10(25.5))


def test_hue_error_of_known_changes():
    red, orange, magenta, gray = (
        np.full((1, 4, 4, 3), color, np.uint8)
        for color in ((200, 0, 0), (200, 100, 0), (200, 0, 100), (90, 90, 90))
    )
    assert autoencoder.hue_error(red, orange) == pytest.approx(30)
    # The short way round.
    assert autoencoder.hue_error(orange, magenta) == pytest.approx(60)
    # Gray has no hue to lose.
    assert autoencoder.hue_error(gray, red) == 0


def test_hsv_is_the_standard_librarys():
    rgb = np.random.default_rng(0).integers(0, 256, (50, 3), dtype=np.uint8)
    expected = np.array([colorsys.rgb_to_hsv(*(c / 255)) for c in rgb.astype(float)])
    result = np.stack(autoencoder.hsv(rgb), -1) / (360, 1, 1)
    assert np.allclose(result, expected, atol=1e-5)


# ---------------------------------------------------------------- CLIP


def test_recall_counts_a_tie_against_the_right_one():
    scores = np.array([[0.9, 0.1, 0.2], [0.8, 0.8, 0.1], [0.5, 0.4, 0.3]])
    expected = {1: 1 / 3, 2: 2 / 3, 3: 1}
    assert retrieval.recall(scores, (1, 2, 3)) == pytest.approx(expected)


def test_a_perfect_reader_is_beaten_by_captions_that_fit_several(monkeypatch):
    looks = [
        Look("dress", "red", sleeve="long"),
        Look("dress", "red", sleeve="short"),
        Look("hat", "blue"),
    ]
    monkeypatch.setattr(retrieval, "look_of", lambda rng: looks.pop(0))
    captions = ["red dress", "short sleeved red dress", "blue hat"]
    assert retrieval.perfect_reader(captions) == pytest.approx((1 / 2 + 1 + 1) / 3)


def test_accuracies_by_hand():
    result = zero_shot.accuracies(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]))
    assert result == {"": 0.75, "_balanced": 0.75, "_chance": 0.5, "_majority": 0.5}


def test_a_neighbour_is_another_image():
    features = np.array([[1, 0.1], [1, 0], [0, 1], [0.1, 2], [1, 0.9]])
    # The last one is nearest to the first.
    assert neighbours.same_class(features, ["a", "a", "b", "b", "b"]) == pytest.approx(4 / 5)


# ---------------------------------------------------------------- prompts


@pytest.fixture(scope="module")
def pairs():
    return list(zip(*random_prompts(96, PROMPTS_SEED), strict=True))


def test_prompts_repeat_by_seed(pairs):
    assert pairs == list(zip(*random_prompts(96, PROMPTS_SEED), strict=True))
    assert pairs != list(zip(*random_prompts(96, REAL_SEED), strict=True))


def test_prompts_ask_for_every_type_and_name_colour_and_type(pairs):
    assert {look.type for look, _ in pairs} == set(TYPES)
    for look, prompt in pairs:
        assert look.color in prompt and look.type in prompt
        assert not any(view in prompt for view in ("back view", "close-up"))


def test_every_fourth_prompt_names_a_held_out_pair(pairs):
    unseen = [(look, prompt) for look, prompt in pairs if held_out(look)]
    assert len(unseen) == 24
    for look, prompt in unseen:
        if (look.type, look.pattern) in HELD_OUT:
            assert any(word in prompt for word in PATTERN_WORDS[look.pattern])


# ---------------------------------------------------------------- likeness


def test_nearest_pixels_finds_the_copy_and_its_distance():
    y = np.random.default_rng(0).integers(0, 200, (5, 64, 64, 3), dtype=np.uint8)
    gap, where = likeness.nearest_pixels(np.stack((y[3], y[1] + 51)), y)
    assert where.tolist() == [3, 1] and gap == pytest.approx([0, 0.2], abs=1e-3)


# ---------------------------------------------------------------- targets


def test_a_line_says_whether_a_target_is_reached():
    speed = {"loading_seconds": 1.0, "eight_images_seconds": 7.0, "load_average": 2.0}
    loading, generating, load = lines({"speed": speed})
    assert loading.endswith("target <= 1.5: reached")
    assert generating.endswith("target <= 4: missed")
    assert "target" not in load


def test_every_target_is_a_figure_of_a_part():
    parts = {"autoencoder", "teacher", "clip", "scorer", "generation", "likeness", "speed"}
    assert {name.split(".")[0] for name in TARGETS} <= parts
