"""Attributes as choices: their counts, their ranges, and what is chosen as filters."""

import pytest

from unidiff_cli.data.attributes import infer
from unidiff_cli.data.shards import Row
from unidiff_cli.retrieval.facets import Facets, filters_of
from unidiff_cli.retrieval.items import Items, write_items
from unidiff_cli.retrieval.where import mask_of

CELLS = [
    {
        "color": ["red", "blue", 'it\'s "odd"'][n % 3],
        "price": f"{10 + n}.00",
        "tags": ["new", "sale"] if n % 2 else ["new"],
        "sku": f"SKU-{n}",
        "only": "same",
        "bad`name": "x" if n % 2 else "y",
        "size": None if n % 4 else "xl" if n % 8 else "s",
    }
    for n in range(60)
]


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    folder = tmp_path_factory.mktemp("items")
    rows = [
        Row(f"{n:09d}", f"{n}", "train", f"g{n}", ("a",), cells) for n, cells in enumerate(CELLS)
    ]
    write_items(folder, rows, infer(CELLS))
    return Items.open(folder)


@pytest.fixture(scope="module")
def facets(items):
    return Facets(items)


def counts(facets, name, allowed=None, chosen=()):
    return {c.label: c.count for c in facets.count(name, allowed, chosen).choices}


def test_what_each_image_has_of_its_own_is_no_choice(facets):
    assert facets.columns == {"color": False, "price": True, "tags": False, "size": False}


def test_texts_lists_and_missing_cells_are_counted(facets):
    assert counts(facets, "color") == {"red": 20, "blue": 20, 'it\'s "odd"': 20}
    assert counts(facets, "tags") == {"new": 60, "sale": 30}
    assert counts(facets, "size") == {"s": 8, "xl": 7}


def test_numbers_are_counted_in_ranges_that_hold_all(facets, items):
    found = counts(facets, "price")
    assert sum(found.values()) == 60 and 3 <= len(found) <= 4
    assert next(iter(found)).startswith("below") and list(found)[-1].startswith("from")
    for choice in facets.count("price", None, ()).choices:
        [where] = filters_of({"price": [choice.value]}, facets.columns)
        assert mask_of(where, items).sum() == choice.count


@pytest.mark.parametrize("value", ["red", 'it\'s "odd"'])
def test_what_is_chosen_is_what_was_counted(facets, items, value):
    [where] = filters_of({"color": [value]}, facets.columns)
    assert mask_of(where, items).sum() == 20
    assert counts(facets, "price", mask_of(where, items)) != counts(facets, "price")


def test_values_of_an_attribute_add_up_and_attributes_narrow(facets, items):
    chosen = {"color": ["red", "blue"], "tags": ["sale"], "unknown": ["x"], "size": []}
    wheres = filters_of(chosen, facets.columns)
    assert [int(mask_of(where, items).sum()) for where in wheres] == [40, 30]
    assert len(filters_of(chosen, facets.columns, besides="color")) == 1


def test_what_is_chosen_stays_though_nothing_is_left_of_it(facets, items):
    none = mask_of("price > 1000", items)
    facet = facets.count("color", none, ["red"])
    assert [(c.value, c.count, c.chosen) for c in facet.choices] == [("red", 0, True)]


def test_a_range_that_is_no_number_is_refused_by_the_filter(facets, items):
    [where] = filters_of({"price": ["a..b"]}, facets.columns)
    with pytest.raises(Exception, match="holds numbers"):
        mask_of(where, items)
