"""What measures prepare: every part runs, and what is compared is what it says."""

import numpy as np
import pytest
from PIL import Image

from benchmarks.parts.resizing import fitting, likeness, ours, photos, pillow
from benchmarks.prepare import BENCHMARK, PARTS, QUICK
from tests.support.catalogue import encoded


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
def test_a_little_of_everything_gives_sound_images(name, tmp_path):
    figures = BENCHMARK.measure(tmp_path, {name: QUICK[name]})
    assert (tmp_path / "figures.json").is_file()
    assert BENCHMARK.failed_checks(figures) == []


def test_photos_are_heavy_and_all_different():
    files = list(photos(42, (128, 96)))
    assert len(set(files)) == 42 and min(map(len, files)) > 128 * 96 / 8


def test_likeness_is_that_of_the_best_that_pillow_gives():
    (file,) = photos(1, (256, 192))
    assert fitting((256, 192), 64) == (64, 48)
    # Only what encoding at quality 95 costs.
    assert likeness(pillow(64)(file), file, 64) > 35
    assert likeness(ours(64)(file), file, 64) > 33
    grey = encoded(Image.fromarray(np.full((48, 64, 3), 128, np.uint8)))
    assert likeness(grey, file, 64) < 25
