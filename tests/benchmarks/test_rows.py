"""What measures a catalogue's rows, and its bounds at a million of them."""

import pytest

from benchmarks.parts.row_columns import RowColumns
from benchmarks.rows import BENCHMARK, CHECKS, QUICK


@pytest.mark.slow
def test_a_little_of_everything_gives_right_rows(tmp_path):
    figures = BENCHMARK.measure(tmp_path, QUICK)
    assert BENCHMARK.failed_checks(figures) == []
    assert all(check.split(".")[1] in figures[check.split(".")[0]] for check in CHECKS)


@pytest.mark.slow
def test_a_million_rows_open_at_once_and_are_put_in_order():
    """With slack for a busy machine; `python -m benchmarks.rows` measures on a quiet one."""
    figures = RowColumns(1_000_000).measure()
    assert figures["differ"] == 0
    assert figures["open_seconds"] < 4 and figures["open_mb"] < 150
    assert figures["write_mb"] < 400
    assert figures["order_seconds"] < 60
