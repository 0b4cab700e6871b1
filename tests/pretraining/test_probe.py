"""The probe: what it learns from, and that it learns the same again."""

import numpy as np
import pytest
import torch

from pretraining import probe
from unidiff_cli.sample_catalog import held_out


@pytest.fixture(scope="module")
def squares():
    """Images of two types by a square's place, and the numbers of their types and patterns."""
    pixels = np.random.default_rng(0).integers(0, 40, (64, 64, 64, 3), dtype=np.uint8)
    pixels[:32, 8:24], pixels[32:, 40:56] = 220, 220
    # A pattern is a bright line down the middle, in every second image.
    pixels[::2, :, 24:40] = 220
    return pixels, np.stack((np.repeat([0, 1], 32), np.tile([2, 0], 32)), 1)


@pytest.fixture(scope="module")
def network(squares):
    return probe.learn(*squares, probe.Settings(epochs=6, batch=16, width=8))


def test_the_probe_learns(squares, network):
    pixels, (types, patterns) = squares[0], squares[1].T
    answers = probe.classify(network, pixels)
    assert np.mean([probe.NAMES[n] == a for n, a in zip(types, answers.types, strict=True)]) > 0.9
    named = [probe.PATTERNS[n] for n in patterns]
    assert np.mean([n == a for n, a in zip(named, answers.patterns, strict=True)]) > 0.9


def test_larger_images_are_judged_as_the_small_ones(squares, network):
    pixels = squares[0]
    large = pixels.repeat(2, 1).repeat(2, 2)
    assert probe.classify(network, large).types == probe.classify(network, pixels).types


def test_one_seed_gives_the_same_weights(squares, network):
    again = probe.learn(*squares, probe.Settings(epochs=6, batch=16, width=8))
    for a, b in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_probe_sees_whole_garments_of_every_pair():
    looks = [probe.look_of(probe.FIRST_SEED + i) for i in range(600)]
    assert {look.view for look in looks} == {"front", "back"}
    assert any(held_out(look) for look in looks)
