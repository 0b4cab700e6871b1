"""Filters in words: what they let through, and what is refused by name."""

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unidiff_cli.data.attributes import infer
from unidiff_cli.data.shards import Row
from unidiff_cli.errors import UsageError
from unidiff_cli.retrieval.items import Items, write_items
from unidiff_cli.retrieval.where import columns_of, mask_of

CELLS = [
    {"color": "red", "price": "19.90", "tags": ["new", "sale"], "since": "2026-01-05"},
    {"color": "Red ", "price": "49,90 €", "tags": ["new"], "since": "2026-02-10"},
    {"color": "blue", "price": 1200, "tags": [], "since": "2026-03-01"},
    {"color": "it's", "price": None, "tags": ["sale"], "since": None},
    {"color": None, "price": "5", "tags": None, "since": "2026-11-27"},
    {"color": "light blue", "price": "7.50", "tags": ["old"], "since": "2025-12-31"},
]


def items_of(cells, folder):
    rows = [
        Row(f"{n:09d}", f"id{n}", "test", f"p{n // 2}", (f"caption {n}",), each)
        for n, each in enumerate(cells)
    ]
    write_items(folder, rows, infer(cells))
    return Items.open(folder)


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    return items_of(CELLS, tmp_path_factory.mktemp("items"))


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("color = 'red'", [0, 1]),
        ('color == "RED"', [0, 1]),
        ("color != 'red'", [2, 3, 5]),
        ("not color = 'red'", [2, 3, 5]),
        ("color in ('red', 'blue')", [0, 1, 2]),
        ("color not in ('red', 'blue')", [3, 5]),
        ("color = 'it''s'", [3]),
        ('color = "it\'s"', [3]),
        ("color contains 'blue'", [2, 5]),
        ("color is null", [4]),
        ("color is not null", [0, 1, 2, 3, 5]),
        ("price < 20", [0, 4, 5]),
        ("price <= 19.9 and price > 5", [0, 5]),
        ("price = 5 or price = 1200", [2, 4]),
        ("price = '7.5'", [5]),
        ("price is null", [3]),
        ("not price < 20", [1, 2]),
        ("tags = 'sale'", [0, 3]),
        ("tags contains 'ne'", [0, 1]),
        ("tags in ('old', 'new')", [0, 1, 5]),
        ("tags is null", [2, 4]),
        ("since >= '2026-02-10'", [1, 2, 4]),
        ("since < '2026-01-01'", [5]),
        ("id = 'id3'", [3]),
        ("product = 'p1'", [2, 3]),
        ("split = 'train'", []),
        ("COLOR = 'red'", [0, 1]),
        ("color = 'red' AND price < 20 OR color = 'blue'", [0, 2]),
        ("color = 'red' and (price < 20 or color = 'blue')", [0]),
        ("`color` = 'red'", [0, 1]),
    ],
)
def test_a_filter_lets_through_what_it_says(items, where, found):
    assert np.flatnonzero(mask_of(where, items)).tolist() == found


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("colour = 'red'", "no column 'colour'. Did you mean 'color'"),
        ("price = 'cheap'", "'price' holds numbers, and 'cheap' is none"),
        ("since > 'soon'", "'since' holds days, and 'soon' is none"),
        ("color < 'red'", "'color' holds text, so < and > say"),
        ("tags < 5", "'tags' holds lists, so < and > say"),
        ("price contains '5'", "'contains' is for text"),
        ("color = red", "cannot be read at 'red'"),
        ("color =", "is not complete"),
        ("color = 'red' and", "is not complete"),
        ("", "is not complete"),
        ("1 = 1", "cannot be read at '1 = 1'"),
        ("color = 'red'; drop table x", "cannot be read at '; drop table x'"),
        ("__import__('os')", "cannot be read"),
        ("(" * 60 + "price < 5" + ")" * 60, "too long"),
        ("not " * 60 + "price < 5", "too long"),
        ("color = '" + "x" * 10_001 + "'", "too long"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(items, where, says):
    with pytest.raises(UsageError) as caught:
        mask_of(where, items)
    assert says in caught.value.fact


def test_a_value_that_no_image_has_is_named_with_the_nearest(items, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("unidiff"), "propagate", True)
    caplog.set_level(logging.INFO, "unidiff")
    assert not mask_of("color = 'redd'", items).any()
    assert "No image has color 'redd'. Did you mean 'red'?" in caplog.text


@given(st.text(max_size=60))
def test_any_text_is_a_filter_or_refused(items, text):
    try:
        assert mask_of(text, items).shape == (6,)
    except UsageError:
        pass


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "a": st.sampled_from(["x", "y", None]),
                "b": st.one_of(st.none(), st.integers(-5, 5)),
            }
        ),
        min_size=1,
        max_size=30,
    )
)
def test_masks_equal_a_comparison_row_by_row(tmp_path_factory, cells):
    items = items_of(cells, tmp_path_factory.mktemp("items"))
    if "a" in items.attributes and "b" in items.attributes:
        mask = mask_of("a = 'x' and b >= 0 or a is null", items)
        assert mask.tolist() == [
            c["a"] is None or (c["a"] == "x" and c["b"] is not None and c["b"] >= 0) for c in cells
        ]


def test_a_filter_crosses_blocks_of_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("unidiff_cli.retrieval.items.BLOCK", 7)
    cells = [{"n": n, "word": f"w{n % 3}", "tags": [f"t{n % 5}"]} for n in range(40)]
    items = items_of(cells, tmp_path)
    mask = mask_of("word = 'w1' and tags = 't2' and n < 30", items)
    assert np.flatnonzero(mask).tolist() == [7, 22]
    assert [row.id for row in items.rows([39, 0])] == ["id39", "id0"]
    assert len(set(items.groups.tolist())) == 20 and items.groups[38] == items.groups[39]


def test_an_index_of_no_rows_lets_nothing_through(tmp_path):
    items = items_of([], tmp_path)
    assert mask_of("split = 'test'", items).shape == (0,)


@pytest.mark.parametrize("few", [0, 4])
def test_values_are_compared_or_looked_up_alike(items, monkeypatch, few):
    """The way that is faster depends on how many values fit."""
    monkeypatch.setattr("unidiff_cli.retrieval.where.FEW", few)
    for where, rows in (
        ("color contains 'e'", [0, 1, 2, 5]),
        ("not color contains 'e'", [3]),
        ("color = 'green'", []),
        ("color != 'green'", [0, 1, 2, 3, 5]),
        ("tags contains 'e'", [0, 1, 3]),
    ):
        assert np.flatnonzero(mask_of(where, items)).tolist() == rows


def test_the_columns_that_a_filter_names():
    where = "color_family = 'color' and (`main color` in ('red') or not price < 50)"
    assert columns_of(where) == {"color_family", "main color", "price"}
