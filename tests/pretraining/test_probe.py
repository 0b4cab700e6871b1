"""The probe: what it learns from, and that it learns the same again."""

import numpy as np
import pytest
import torch

from pretraining import probe
from unidiff_cli.sample_catalog import held_out


@pytest.fixture(scope="module")
def squares():
    """Images of two types that a square's place distinguishes, and the numbers of their types."""
    pixels = np.random.default_rng(0).integers(0, 40, (64, 64, 64, 3), dtype=np.uint8)
    pixels[:32, 8:24], pixels[32:, 40:56] = 220, 220
    return pixels, np.repeat([0, 1], 32)


@pytest.fixture(scope="module")
def network(squares):
    return probe.learn(*squares, probe.Settings(epochs=6, batch=16, width=8))


def test_the_probe_learns(squares, network):
    pixels, types = squares
    answers = np.array([probe.NAMES.index(name) for name in probe.classify(network, pixels)[0]])
    assert (answers == types).mean() > 0.9


def test_one_seed_gives_the_same_weights(squares, network):
    again = probe.learn(*squares, probe.Settings(epochs=6, batch=16, width=8))
    for a, b in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_probe_sees_whole_garments_of_every_pair():
    looks = [probe.look_of(probe.FIRST_SEED + i) for i in range(600)]
    assert {look.view for look in looks} == {"front", "back"}
    assert any(held_out(look) for look in looks)
