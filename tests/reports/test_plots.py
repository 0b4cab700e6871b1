"""Plots: the text of a catalogue stays text, and histograms hold all values."""

import subprocess
import sys
from pathlib import Path

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


def test_a_histogram_has_a_bar_for_each_number_or_range():
    def bars(values):
        # A bar, like the background, is a path with a fill.
        return plots.histogram(values, x="", y="").count("fill: var(--series-1)")

    assert bars([3, 3, 4]) == 2
    assert bars([1, 100]) == 20 and bars(range(1000)) == plots.BINS


def test_the_same_data_give_the_same_svg():
    first, second = (plots.lines({"a": ([1, 2], [1, 2])}, x="x", y="y") for _ in range(2))
    assert first == second


def test_a_line_joins_the_means_of_points_named_together():
    groups = {"base": [(0.1, 0.2)], "half": [(0.2, 0.1), (0.4, 0.5)], "other": [(0.9, 0.9)]}
    plain = plots.scatter(groups, x="x", y="y")
    joined = plots.scatter(groups, x="x", y="y", joined=[("base", "half", "not measured")])
    assert joined.count("var(--soft)") > plain.count("var(--soft)")
    # What has no second point has no line, and adds none.
    for names in (("not measured",), ("base", "not measured")):
        assert plots.scatter(groups, x="x", y="y", joined=[names]) == plain


def test_an_axis_without_shares_has_numbers():
    groups = {"a": [(0.1, 12.0)], "b": [(0.2, 14.0)]}
    svg = plots.scatter(groups, x="x", y="KID", percent=(True, False))
    assert "%" in svg and ">14" in svg and "1400" not in svg


def test_a_plot_is_drawn_in_a_shell_of_python():
    """Which imports from the working directory; a notebook does so too."""
    program = "from unidiff_cli.reports import plots; print(plots.bars({'a': {'b': 0.5}}, x='x'))"
    # Where the package lies, as it may not be installed.
    top = Path(plots.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=top, capture_output=True, text=True)
    assert done.stdout.startswith("<svg"), done.stderr
