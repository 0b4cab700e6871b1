"""Rows of JSON that lie by column, or inside other objects."""

import json
from collections import Counter
from functools import lru_cache
from pathlib import Path

import pytest

from tests.support.catalogue import put
from tests.support.reading import read, read_all
from unidiff_cli.data import columns
from unidiff_cli.data.readers.rows.json_layouts import ACTIONS, row_of

CAPTIONS = [f"red dress {n}" for n in range(5)]
ROWS = [{"image": "a.jpg", "title": caption, "size": n} for n, caption in enumerate(CAPTIONS)]


def captions(folder: Path, data: object, name: str = "products.json") -> list[str]:
    """The captions of a table of JSON beside an image; no row is rejected."""
    put(folder / "a.jpg")
    put(folder / name, data if isinstance(data, str) else json.dumps(data))
    samples, rejected = read(folder)
    assert not rejected, rejected
    assert [sample.attributes["size"] for sample in samples] == [0, 1, 2, 3, 4]
    return [sample.captions[0] for sample in samples]


def by_column(keys: list[str]) -> dict[str, dict[str, object]]:
    return {name: {k: ROWS[n][name] for n, k in enumerate(keys)} for name in ROWS[0]}


@pytest.mark.parametrize(
    "data",
    [
        by_column(["0", "1", "2", "3", "4"]),
        by_column(["SKU-9", "SKU-3", "x", "y", "z"]),
        {"columns": list(ROWS[0]), "index": [0, 3, 4, 7, 9], "data": [[*r.values()] for r in ROWS]},
        {str(n): row for n, row in enumerate(ROWS)},
        {"schema": {"fields": [{"name": "image"}], "pandas_version": "1.4.0"}, "data": ROWS},
    ],
)
def test_what_pandas_writes_is_read(tmp_path, data):
    assert captions(tmp_path, data) == CAPTIONS


def test_a_row_of_other_cells_than_the_columns_costs_itself(tmp_path):
    put(tmp_path / "a.jpg")
    data = [["a.jpg", caption] for caption in CAPTIONS]
    text = json.dumps({"columns": ["image", "caption"], "data": [*data, ["a.jpg"], 7]})
    samples, rejected = read(put(tmp_path / "catalog.json", text).parent)
    assert (
        len(samples) == 5
        and [r.reason.text for r in rejected] == ["not a list of 2 cells, one a column"] * 2
    )


@pytest.mark.parametrize(
    "data",
    [
        {"data": {"products": {"edges": [{"cursor": "x", "node": row} for row in ROWS]}}},
        {"took": 3, "hits": {"total": 5, "hits": [{"_id": "7", "_source": row} for row in ROWS]}},
        {
            "data": [
                {"id": n, "attributes": row, "links": {"self": "/7"}} for n, row in enumerate(ROWS)
            ]
        },
        {"data": {"products": ROWS}},
        [{"product": row, "tags": ["a"]} for row in ROWS],
    ],
)
def test_rows_that_lie_one_level_deeper_are_read(tmp_path, data):
    assert captions(tmp_path, data) == CAPTIONS


def test_an_object_beside_a_caption_is_no_row(tmp_path):
    rows = [{**row, "maker": {"image": "logo.png", "name": "Acme"}} for row in ROWS]
    assert captions(tmp_path, rows) == CAPTIONS


@pytest.mark.parametrize("action", [{"index": {"_index": "p", "_id": "7"}}, {"create": {}}])
def test_what_elasticsearch_is_to_do_is_no_row(tmp_path, action):
    lines = [json.dumps(line) for row in ROWS for line in (action, row)]
    assert captions(tmp_path, "\n".join(lines) + "\n", "bulk.jsonl") == CAPTIONS
    assert read_all(tmp_path)[0].notes[ACTIONS] == 5


def test_updates_of_elasticsearch_hold_their_row(tmp_path):
    lines = [json.dumps(x) for row in ROWS for x in ({"update": {"_id": "7"}}, {"doc": row})]
    assert captions(tmp_path, "\n".join(lines), "bulk.ndjson") == CAPTIONS


@pytest.mark.parametrize(
    "own",
    [
        {"packshot": "a.jpg", "wording": "a red dress of wool"},
        {"packshot": "https://x.org/a.jpg?v=2", "wording": "dress"},
        {"views": ["a.jpg", "b.webp"]},
        {"packshot": {"src": "a.jpg"}},
        {"wording": "A red dress of wool, size 12."},
    ],
)
def test_a_brand_is_no_row_where_the_row_has_its_own_image_or_text(own):
    row = {"sku": 7, **own, "brand": {"name": "Acme", "image": "logo.png"}}
    assert row_of(row, Counter()) == row


@pytest.mark.parametrize(
    "own",
    [
        {"_index": "products", "_id": "7", "_score": 1.5},
        {"id": "rec1", "createdTime": "2024-01-01T00:00:00.000Z"},
        {"created": "Mon, 01 Jan 2024 10:00:00 GMT", "links": {"self": "/products/7"}},
    ],
)
def test_what_stands_beside_a_row_inside_is_no_content(own):
    inner = {"title": "red dress", "image": "a.jpg"}
    assert row_of({**own, "fields": inner}, Counter()) == {**own, **inner}


def test_names_of_columns_are_made_plain_once(monkeypatch):
    calls = []
    monkeypatch.setattr(columns, "_kept", lru_cache(lambda name: calls.append(name) or name))
    row = {"id": 7, "price": {"amount": 1, "unit": "EUR"}, "size": {"w": 1}, "colour": {"r": 1}}
    for _ in range(100):
        row_of(row, Counter())
    assert len(calls) < 10
