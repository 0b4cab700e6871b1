"""Figures, differences and tests in words."""

import pytest

from tests.support.reports import test_of as figure_test
from unidiff_cli.reports.wording import format_difference, format_value, sentence


@pytest.mark.parametrize(
    ("value", "text"),
    [(23.14, "23.1"), (0.0, "0"), (0.00421, "0.00421"), (-0.0004, "−4.0e−04")],
)
def test_a_figure(value, text):
    assert format_value(value, percent=False) == text


@pytest.mark.parametrize(("value", "text"), [(0.125, "12.5\u00a0%"), (-0.5, "−50.0\u00a0%")])
def test_a_share_is_in_percent(value, text):
    assert format_value(value, percent=True) == text


@pytest.mark.parametrize(
    ("value", "percent", "text"),
    [(0.2, True, "+20.0\u00a0pt"), (-0.1, False, "−0.1"), (0.0, False, "+0")],
)
def test_a_difference_has_a_sign(value, percent, text):
    assert format_difference(value, percent) == text


def test_a_test_of_shares_is_a_sentence_in_points():
    test = figure_test("r1_t2i", 0.3, 0.5)
    assert sentence(test, "R@1", percent=True, items="queries") == (
        "R@1 is better: 30.0 % → 50.0 %, +20.0 points "
        "(95 % interval +10.0 … +30.0; 46 queries in 18 groups)."
    )


def test_without_an_interval_there_is_none():
    test = figure_test(
        "kid", 5.0, 1.0, low=None, high=None, items=40, groups=40, verdict="not distinguishable"
    )
    assert sentence(test, "KID") == "KID is not distinguishable: 5 → 1, −4 (40 items)."
