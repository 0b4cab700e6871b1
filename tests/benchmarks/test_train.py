"""What measures a training step: that it runs, and that what it compares gives equal losses."""

import pytest

from benchmarks import table, train
from benchmarks.train import BOUNDS, CHECKS, QUICK, TARGETS


@pytest.mark.slow
@pytest.mark.parametrize("part", train.PARTS)
def test_a_little_of_everything_gives_equal_losses(part, tmp_path):
    pytest.importorskip("open_clip")
    figures = train.measure(tmp_path, QUICK, [part])
    assert (tmp_path / "figures.json").is_file()
    expected = {name for name in CHECKS | TARGETS if name.split(".")[0] == part}
    assert expected <= {f"{part}.{name}" for name in figures[part]}
    assert train.missed(figures) == []
    assert expected <= set(table(figures, BOUNDS).columns[0].cells)


def test_the_largest_batch_fits_where_the_plain_one_did_or_it_says_so():
    ratios = {"clip_only_memory_largest": 1.06, "joint_memory_largest": 1.04}
    shown = table({"gradcache": ratios}, BOUNDS)
    assert list(shown.columns[2].cells) == ["<= 1.05"] * 2 and list(shown.columns[3].cells) == [
        "no",
        "yes",
    ]


def test_a_difference_that_is_no_number_is_missed():
    assert train.missed(
        {"steps": {"bare_difference": float("nan"), "denoise_difference": 0.0}}
    ) == ["steps.bare_difference"]
