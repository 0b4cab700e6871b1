"""The benchmark of a whole catalogue loses no row at any stage."""

import pytest

from benchmarks.catalogue import BENCHMARK, QUICK
from benchmarks.parts.catalogue_stages import STAGES


@pytest.mark.slow
def test_a_little_catalogue_goes_through_every_stage(tmp_path):
    figures = BENCHMARK.measure(tmp_path, QUICK)
    assert BENCHMARK.failed_checks(figures) == []
    measured = figures["catalogue"]
    for stage in STAGES:
        assert measured[f"{stage}_256_seconds"] > 0 and f"{stage}_256_to_512_exponent" in measured
