"""Captions made of attributes: what they name, and captions without the colours."""

import pytest

from tests.support.shards import attribute_rows, row_of
from unidiff_cli.data.attribute_captions import TEMPLATES, AttributeCaptions
from unidiff_cli.data.shards import Row


def test_a_caption_names_kind_colour_and_what_the_rows_caption_names():
    captions = AttributeCaptions(attribute_rows())
    assert (captions.kind, captions.colour, captions.details) == ("category", "color", ["gender"])
    assert [captions.caption(6, n) for n in range(len(TEMPLATES))] == [
        "hoodie top in navy blue, women",
        "navy blue hoodie top, women",
        "a photo of hoodie top, women, navy blue",
        "women hoodie top in navy blue",
    ]
    assert [captions.caption(6, n, colour=False) for n in range(len(TEMPLATES))] == [
        "hoodie top, women",
        "hoodie top, women",
        "a photo of hoodie top, women",
        "women hoodie top",
    ]
    assert 3 <= len(TEMPLATES) <= 5


def test_no_caption_names_a_product():
    """A column of which each value is one product's is left out, also where captions name it."""
    rows = attribute_rows(count=60, model=lambda n: f"Chaz {'abcdefghijklmnopqrst'[n // 6]}")
    rows = [
        Row(**{**vars(row), "group": f"p{n // 6}", "captions": (f"{row.attributes['model']} in",)})
        for n, row in enumerate(rows)
    ]
    assert AttributeCaptions(rows).details == []


def test_without_kinds_or_colours_there_is_none():
    rows = [row_of(n, (f"thing {n} in red",), {"material": "ab"[n % 2]}) for n in range(20)]
    captions = AttributeCaptions(rows)
    assert captions.kind is captions.colour is None
    assert captions.caption(0) is None and captions.without_colour("in red") == "in red"


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("Chaz hoodie in black, men's hoodies", "Chaz hoodie, men's hoodies"),
        ("Black Chaz hoodie", "Chaz hoodie"),
        ("Chaz hoodie (navy-blue)", "Chaz hoodie"),
        ("hoodie, colour: navy blue, cotton", "hoodie, cotton"),
        ("black and orange dress", "dress"),
        ("dress in black/orange", "dress"),
        ("blackbird dress,  in blue", "blackbird dress,  in blue"),
        ("a dress in Paris", "a dress in Paris"),
        ("orange", ""),
    ],
)
def test_a_caption_without_the_colours_that_the_catalogue_names(text, bare):
    assert AttributeCaptions(attribute_rows()).without_colour(text) == bare
