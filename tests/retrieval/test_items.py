"""The rows of an index: found by id, and their attributes as JSON has them."""

import random

from unidiff_cli.data.attributes import infer
from unidiff_cli.data.shards import Row
from unidiff_cli.retrieval import items as module
from unidiff_cli.retrieval.items import Items, write_items


def written(folder, ids, cells):
    rows = [
        Row(f"{n:09d}", name, "train", "g", ("a",), cell)
        for n, (name, cell) in enumerate(zip(ids, cells, strict=True))
    ]
    write_items(folder, rows, infer(cells))
    return Items.open(folder)


def test_every_id_is_found_whatever_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 16)
    ids = ["", "a", "A", "ä", "z", "\U0001f457", "\uffee", *(f"{n}" for n in range(100))]
    random.Random(0).shuffle(ids)
    items = written(tmp_path, ids, [{}] * len(ids))
    assert [items.number(name) for name in ids] == list(range(len(ids)))
    assert [items.number(name) for name in ("b", "~", "\U0001f458", "1000", "0 ")] == [None] * 5


def test_an_index_of_nothing_has_no_id(tmp_path):
    assert written(tmp_path, [], []).number("a") is None


CELLS = [
    {
        "price": "1,200.50 EUR",
        "added": "2026/11/3",
        "tags": "red | blue",
        "brand": "Böhm",
        "new": True,
    },
    {"price": "1e999", "added": "2026-11-27", "tags": "red", "brand": ""},
] * 10


def test_attributes_are_numbers_days_lists_and_texts(tmp_path):
    items = written(tmp_path, [str(n) for n in range(20)], CELLS)
    assert items.types() == {
        "price": "number",
        "added": "date",
        "tags": "text",
        "brand": "text",
        "new": "text",
    }
    first, second = items.typed(18, 2)
    assert first == {
        "price": 1200.5,
        "added": "2026-11-03",
        "tags": ["red", "blue"],
        "brand": "Böhm",
        "new": "True",
    }
    assert second == {"added": "2026-11-27", "tags": ["red"]}


def test_rows_without_attributes_have_none(tmp_path):
    assert written(tmp_path, ["a", "b"], [{}, {}]).typed(0, 2) == [{}, {}]
