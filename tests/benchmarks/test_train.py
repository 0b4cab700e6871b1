"""What measures a training step: that it runs, and that what it compares gives equal losses."""

import pytest

from benchmarks.train import BENCHMARK, PARTS, QUICK


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
def test_a_little_of_everything_gives_equal_losses(name, tmp_path):
    pytest.importorskip("open_clip")
    figures = BENCHMARK.measure(tmp_path, {name: QUICK[name]})
    assert (tmp_path / "figures.json").is_file()
    expected = {figure for figure in BENCHMARK.bounds if figure.split(".")[0] == name}
    assert expected <= {f"{name}.{figure}" for figure in figures[name]}
    assert BENCHMARK.failed_checks(figures) == []
    assert expected <= set(BENCHMARK.table(figures).columns[0].cells)


def test_the_largest_batch_fits_where_the_plain_one_did_or_it_says_so():
    ratios = {"clip_only_memory_largest": 1.06, "joint_memory_largest": 1.04}
    table = BENCHMARK.table({"gradcache": ratios})
    assert list(table.columns[2].cells) == ["<= 1.05"] * 2
    assert list(table.columns[3].cells) == ["no", "yes"]
