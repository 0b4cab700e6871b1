"""Figures beside their bounds: the table, and the checks that fail."""

import math

import pytest

from benchmarks.figures import Benchmark, Bound

CHECKS = {"part.difference": Bound(1e-6), "part.other": Bound(0.0)}
TARGETS = {"part.times": Bound(3.0, at_least=True), "part.memory": Bound(1.05)}
BENCHMARK = Benchmark({}, {}, CHECKS, TARGETS, lambda part: part.measure())


def test_a_check_that_fails_is_named():
    assert BENCHMARK.failed_checks({"part": {"difference": 2e-6}}) == ["part.difference"]
    assert BENCHMARK.failed_checks({"part": {"difference": 0.0}}) == []


def test_a_figure_that_is_no_number_fails_its_check():
    figures = {"part": {"difference": math.nan, "other": 0.0}}
    assert BENCHMARK.failed_checks(figures) == ["part.difference"]


def test_a_target_is_not_a_check():
    assert BENCHMARK.failed_checks({"part": {"times": 1.0}}) == []


def test_the_table_says_what_is_reached():
    table = BENCHMARK.table(
        {"part": {"times": 3.0, "memory": 1.06, "difference": 0.0, "load": 2.0}}
    )
    assert list(table.columns[2].cells) == [">= 3", "<= 1.05", "<= 1e-06", ""]
    assert list(table.columns[3].cells) == ["yes", "no", "yes", ""]


@pytest.mark.parametrize(
    ("value", "written"), [("a name", "a name"), (12_000, "12,000"), (0.123456, "0.1235")]
)
def test_a_value_is_written_by_its_kind(value, written):
    table = BENCHMARK.table({"part": {"any": value}})
    assert list(table.columns[1].cells) == [written]
