"""Plots: the text of a catalogue stays text, and histograms hold all values."""

import pytest

from unidiff_cli.reports import plots

PRICE = "$5 to $9_a"


@pytest.mark.parametrize(
    "svg",
    [
        lambda: plots.bars({PRICE: {"$a$": 0.5, "b": 0.1}}, x="$x$"),
        lambda: plots.matrix([[1, 0], [0, 1]], [PRICE, "other"]),
        lambda: plots.lines({PRICE: ([1, 2], [1, 2]), "b": ([1, 2], [2, 1])}, x="x", y="y"),
        lambda: plots.points({PRICE: [0.1, 0.2]}, x="x"),
        lambda: plots.scatter({PRICE: [(0.1, 0.2)]}, x="x", y="y"),
    ],
    ids=["bars", "matrix", "lines", "points", "scatter"],
)
def test_a_dollar_sign_is_no_formula(svg):
    assert PRICE in svg()


def test_labels_and_series_are_no_formulas():
    svg = plots.bars({"a": {"$a$": 0.5, "b": 0.1}}, x="$x$")
    assert "$a$" in svg and "$x$" in svg


def test_a_label_that_is_too_long_is_cut():
    assert "a" * 43 + "…" in plots.bars({"a" * 60: {"b": 0.1}}, x="x")


@pytest.mark.parametrize("values", [[], [3], [1, 2, 2, 9], list(range(1000))])
def test_a_histogram_takes_any_whole_numbers(values):
    svg = plots.histogram(values, x="words", y="captions")
    assert svg.startswith("<svg") and "words" in svg and "captions" in svg


def test_the_same_data_give_the_same_svg():
    first, second = (plots.lines({"a": ([1, 2], [1, 2])}, x="x", y="y") for _ in range(2))
    assert first == second
