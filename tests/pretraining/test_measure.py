"""What measures nano, on inputs whose answers a person can check."""

import colorsys

import numpy as np
import pytest
import torch

from benchmarks import table
from pretraining import measure, probe
from unidiff_cli.sample_catalog import COLORS, TYPES, Look, held_out
from unidiff_cli.sample_catalog.captions import PATTERN_WORDS
from unidiff_cli.sample_catalog.fabric import lab


def image(color, wall=(225, 225, 222)):
    """A square of one color, 24 px wide, before a wall."""
    pixels = np.empty((64, 64, 3), np.uint8)
    pixels[:] = wall
    pixels[20:44, 20:44] = color
    return pixels


def test_lab_is_the_renderers():
    rgb = np.array([*COLORS.values(), (0, 0, 0), (255, 255, 255), (3, 9, 11)], float)
    assert np.allclose(
        measure.lab(rgb), [lab(color) for color in rgb], atol=1e-2
    )  # it rounds its constants


def test_the_garment_is_what_the_rim_is_not():
    mask = measure.garment(image(COLORS["red"]))
    assert mask.sum() == 24 * 24 and mask[20:44, 20:44].all()


@pytest.mark.parametrize("name", COLORS)
def test_a_square_has_its_own_color(name):
    wall = (150, 190, 200) if name in ("white", "gray") else (225, 225, 222)
    assert measure.color_of(image(COLORS[name], wall)) == name


def test_a_image_without_a_garment_has_the_walls_color():
    assert measure.color_of(image((132, 133, 136), wall=(132, 133, 136))) == "gray"


def test_psnr_and_hue_of_known_changes():
    x = np.full((2, 8, 8, 3), 100, np.uint8)
    assert measure.psnr(x, x + 10) == pytest.approx(20 * np.log10(25.5))
    red, orange, gray = (
        np.full((1, 4, 4, 3), c, np.uint8) for c in ((200, 0, 0), (200, 100, 0), (90, 90, 90))
    )
    assert measure.hue_error(red, orange) == pytest.approx(30)
    magenta = np.full((1, 4, 4, 3), (200, 0, 100), np.uint8)
    assert measure.hue_error(orange, magenta) == pytest.approx(60)  # the short way round
    assert measure.hue_error(gray, red) == 0  # gray has no hue to lose


def test_hsv_is_the_standard_librarys():
    rgb = np.random.default_rng(0).integers(0, 256, (50, 3), dtype=np.uint8)
    theirs = np.array([colorsys.rgb_to_hsv(*(c / 255)) for c in rgb.astype(float)])
    assert np.allclose(np.stack(measure.hsv(rgb), -1) / (360, 1, 1), theirs, atol=1e-5)


def test_recall_counts_a_tie_against_the_right_one():
    scores = np.array([[0.9, 0.1, 0.2], [0.8, 0.8, 0.1], [0.5, 0.4, 0.3]])
    assert measure.recall(scores, (1, 2, 3)) == pytest.approx({1: 1 / 3, 2: 2 / 3, 3: 1})


def test_shares_by_hand():
    found = measure.shares(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]))
    assert found == {"": 0.75, "_balanced": 0.75, "_chance": 0.5, "_majority": 0.5}


def test_prompts_ask_for_every_type_and_say_what_is_held_out():
    asked = measure.subjects(96, measure.PROMPTS_SEED)
    assert (
        asked
        == measure.subjects(96, measure.PROMPTS_SEED)
        != measure.subjects(96, measure.REAL_SEED)
    )
    assert {look.type for look, _ in asked} == set(TYPES)
    kept = [(look, words) for look, words in asked if held_out(look)]
    assert len(kept) == 24
    for look, words in asked:
        assert look.color in words and look.type in words
        assert not any(view in words for view in ("back view", "close-up"))
    for look, words in kept:
        if (look.type, look.pattern) in measure.HELD_OUT:
            assert any(word in words for word in PATTERN_WORDS[look.pattern])


def test_nearest_pixels_finds_the_copy_and_its_distance():
    y = np.random.default_rng(0).integers(0, 200, (5, 64, 64, 3), dtype=np.uint8)
    gap, where = measure.nearest_pixels(np.stack((y[3], y[1] + 51)), y)
    assert where.tolist() == [3, 1] and gap == pytest.approx([0, 0.2], abs=1e-3)


def test_the_table_says_what_is_reached():
    shown = table(
        {"speed": {"loading_seconds": 1.0, "eight_images_seconds": 7.0, "load_average": 2.0}},
        measure.TARGETS,
    )
    assert list(shown.columns[3].cells) == ["yes", "no", ""]


def test_a_perfect_reader_is_beaten_by_captions_that_fit_several(monkeypatch):
    looks = [
        Look("dress", "red", sleeve="long"),
        Look("dress", "red", sleeve="short"),
        Look("hat", "blue"),
    ]
    monkeypatch.setattr(measure.data, "look_of", lambda rng: looks.pop(0))
    assert measure.reader(["red dress", "short sleeved red dress", "blue hat"]) == pytest.approx(
        (1 / 2 + 1 + 1) / 3
    )


def test_every_target_is_a_figure_of_a_part():
    parts = {"autoencoder", "clip", "scorer", "generation", "likeness", "speed"}
    assert {name.split(".")[0] for name in measure.TARGETS} <= parts


def test_the_probe_learns_and_learns_the_same_again():
    """Two types that a square's place tells apart; both runs of one seed give the same weights."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 40, (64, 64, 64, 3), dtype=np.uint8)
    pixels[:32, 8:24], pixels[32:, 40:56] = 220, 220
    types = np.repeat([0, 1], 32)
    settings = probe.Settings(epochs=6, batch=16, width=8)
    first, again = probe.learn(pixels, types, settings), probe.learn(pixels, types, settings)
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True)
    )
    assert (
        np.mean(
            [
                probe.NAMES.index(a) == t
                for a, t in zip(probe.answers(first, pixels)[0], types, strict=True)
            ]
        )
        > 0.9
    )


def test_the_probe_sees_whole_garments_of_every_pair():
    looks = [probe.look_of(probe.FIRST_SEED + i) for i in range(600)]
    assert {look.view for look in looks} == {"front", "back"}
    assert any(held_out(look) for look in looks)
    assert isinstance(looks[0], Look)
