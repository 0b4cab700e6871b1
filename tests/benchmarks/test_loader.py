"""What measures the loader: both sides load the same, whatever they cost."""

import pytest

from benchmarks.loader import ALONE, BENCHMARK, QUICK


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_a_little_of_everything_is_loaded_alike(name, tmp_path):
    figures = BENCHMARK.measure(tmp_path, {name: QUICK[name]})
    assert BENCHMARK.failed_checks(figures) == []
    assert figures[name]["parse_times_webloader"] > 0
    checked = [check for check in BENCHMARK.checks if check.split(".")[1] in figures[name]]
    assert name not in ALONE or len(checked) >= 4
