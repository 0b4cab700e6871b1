"""Attributes as typed columns: how shops write numbers, days and lists."""

from datetime import date

import pytest

from unidiff_cli.data.attributes import Attribute, infer
from unidiff_cli.data.typed_columns import typed_columns


def column(cells, kind=None):
    rows = [{"x": cell} for cell in cells]
    attributes = {"x": Attribute(kind, 1, False)} if kind else infer(rows)
    return typed_columns(rows, attributes)["x"].to_pylist()


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["12", "-1.5", 3, 2.5, None], [12, -1.5, 3, 2.5, None]),
        (["1,200.00", "19.90 EUR", "€ 5"], [1200, 19.9, 5]),
        (["1.200,00 €", "19,90 €", "5 €"], [1200, 19.9, 5]),
        (["1 200,50", "3 000,00"], [1200.5, 3000]),
        (["1,200", "3,000"], [1200, 3000]),
        (["1'200.50", "80%"], [1200.5, 80]),
        ([True, "5"], [None, 5]),
        (["1e3", "n/a"], [1000, None]),
    ],
)
def test_numbers_as_shops_write_them(cells, numbers):
    assert column(cells, "number") == numbers


def test_days_that_are_the_same_everywhere_are_days_and_others_stay_text():
    assert column(["2026-01-05", "2026/2/1 10:00", "2026-13-01", ""], "date") == [
        date(2026, 1, 5),
        date(2026, 2, 1),
        None,
        None,
    ]
    for cells in (["05.01.2026", "01/02/2026"], ["2026-01-05", "06.01.2026"]):
        assert column(cells, "date") == cells


def test_lists_of_any_kind():
    cells = [["a", "b"], '["c", "d"]', "e | f", "[broken", [], None]
    assert column(cells, "list") == [["a", "b"], ["c", "d"], ["e", "f"], ["[broken"], None, None]


def test_text_is_as_it_was_written():
    assert column(["Red ", "", None, "blue"]) == ["Red", None, None, "blue"]
