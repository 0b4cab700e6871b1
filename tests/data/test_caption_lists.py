"""Several captions in a cell: lists of JSON, Python, numpy and Postgres, and objects."""

import time

import pytest

from unidiff_cli.data.captions import cell_captions


@pytest.mark.parametrize(
    ("cell", "wanted"),
    [
        (["a hat", None, "a bag"], ["a hat", "a bag"]),
        ('["a hat", "a bag"]', ["a hat", "a bag"]),
        (' [\n  "a hat",\n  null ]', ["a hat"]),
        ("['a hat', \"it's red\"]", ["a hat", "it's red"]),
        # numpy prints no commas; Python would join the two strings.
        ("['a hat' 'a bag'\n 'a cap']", ["a hat", "a bag", "a cap"]),
        ("('a hat', 'a bag')", ["a hat", "a bag"]),
        ('{"a hat","a bag"}', ["a hat", "a bag"]),
        ('[["a hat"], ["a bag"]]', ["a hat", "a bag"]),
        ('[{"raw": "a hat", "tokens": ["a", "hat"]}, {"raw": "a bag"}]', ["a hat", "a bag"]),
        ("{'caption': 'a hat'}", ["a hat"]),
        ({"raw": "a hat", "tokens": []}, ["a hat"]),
        ({"en": "a hat", "de-DE": "ein Hut"}, ["a hat", "ein Hut"]),
        ('{"en_US": "a hat"}', ["a hat"]),
        ([{"locale": "en_US", "data": "a hat"}], ["a hat"]),
        ("[]", []),
        (None, []),
        (float("nan"), []),
        (12.5, ["12.5"]),
    ],
)
def test_a_cell_may_hold_several_captions(cell, wanted):
    assert cell_captions(cell) == wanted


@pytest.mark.parametrize(
    "cell",
    [
        "[bold red]dress[/]",
        "[NEW] dress",
        "[1, 2]",
        "{name} dress",
        "}{ dress",
        "['90s style] jacket",
        "('90s) jacket",
        "100% {",
    ],
)
def test_a_caption_in_brackets_is_a_caption(cell):
    assert cell_captions(cell) == [cell]


@pytest.mark.parametrize(
    "cell",
    [
        # Cut at the end of a column.
        '["a red dress", "a re',
        "['a red dress', 'a re",
        '{"en": "a hat"',
        # An object of which nobody knows what it says.
        '{"price": 3, "stock": 4}',
        [[[[[["a hat"]]]]]],
        "[" * 50_000 + '"',
    ],
)
def test_what_looks_like_a_list_and_is_none_is_no_caption(cell):
    with pytest.raises(ValueError):
        cell_captions(cell)


@pytest.mark.parametrize("cell", ["['a' " * 30_000, "['" + "a'" * 50_000, "['a'" + "," * 90_000])
def test_hostile_lists_take_no_long_time(cell):
    started = time.process_time()
    try:
        cell_captions(cell)
    except ValueError:
        pass
    assert time.process_time() - started < 5
