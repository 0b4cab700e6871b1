"""What measures whole commands: each gives all images, in their sizes."""

import pytest

from benchmarks.end_to_end import BENCHMARK, QUICK


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_a_command_gives_every_image(name, tmp_path):
    """Of the peer where it is installed, and of ours anywhere."""
    figures = BENCHMARK.measure(tmp_path, {name: QUICK[name]})
    assert figures[name]["wrong"] == 0 and figures[name]["ours_cpu_seconds"] > 0
    assert BENCHMARK.failed_checks(figures) == []
