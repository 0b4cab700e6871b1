"""Attributes: the type of each column, and which columns a model can be tested on."""

import pytest

from tests.support.catalogue import write_photos
from unidiff_cli import Project, Recipe, prepare
from unidiff_cli.data.attributes import as_figures, class_columns, from_figures, infer

COLOURS = ("red", "Blue", "green", "sky blue")


@pytest.mark.parametrize(
    ("name", "values", "kind", "is_kind"),
    [
        ("colour", COLOURS, "text", True),
        ("Farbe", ("rot", "weiß", "grün"), "text", True),
        ("材質", ("綿", "麻"), "text", True),
        ("brand", ("Acme", "Zenit & Co", "H&M"), "text", True),
        ("product", ("dress", "hat"), "text", True),
        # Numbers, prices and sizes.
        ("price", (19.9, 5, None), "number", False),
        ("price", ("19.90 EUR", "5.00 EUR"), "number", False),
        ("price", ("€ 1.200,50", "€ 5"), "number", False),
        ("weight", ("12 kg", "0.5 kg"), "number", False),
        ("size", ("38", "40"), "number", False),
        ("added", ("2024-01-05", "2023-12-31T10:00:00Z"), "date", False),
        ("added", ("05.01.2024", "31.12.23"), "date", False),
        ("added", ("1/5/2024", "12/31/2023 10:00"), "date", False),
        ("tags", (["a", "b"], ["a"]), "list", False),
        ("tags", ('["a", "b"]', '["b"]'), "list", False),
        ("tags", ("summer, linen", "linen, sale", "summer"), "list", False),
        ("tags", ("summer|linen", "linen|sale"), "list", False),
        # Ids, names, links and answers.
        ("item_group_id", ("G1", "G2"), "text", False),
        ("batch", ("A-17", "B-18"), "text", False),
        ("sku", ("ABC", "DEF"), "text", False),
        ("title", ("a red dress", "a hat"), "text", False),
        ("page", ("https://x.org/a", "https://x.org/b"), "text", False),
        ("small", ("thumbs/a.jpg", "thumbs/b.jpg"), "text", False),
        ("published", ("TRUE", "FALSE"), "text", False),
        ("is_new", (True, False), "text", False),
        ("split", ("train", "test"), "text", False),
    ],
)
def test_the_type_of_a_column(name, values, kind, is_kind):
    rows = [{name: values[n % len(values)], "empty": ""} for n in range(60)]
    attributes = infer(rows)
    assert list(attributes) == [name]
    assert (attributes[name].type, attributes[name].is_kind) == (kind, is_kind)
    assert list(class_columns(rows)) == ([name] if is_kind else [])


def test_a_column_that_hardly_repeats_names_no_kinds():
    rows = [{"colour": f"{COLOURS[n % 4]} {'abcdefghijklmnopqrst'[n % 20]}"} for n in range(30)]
    assert not infer(rows)["colour"].is_kind


def test_one_odd_value_of_many_changes_no_type():
    rows = [{"price": "on request" if n == 7 else f"{n}.90"} for n in range(60)]
    assert infer(rows)["price"].type == "number"


def test_classes_are_those_of_the_catalogue_not_of_a_split():
    catalogue = [{"batch": f"{'abcdefghij'[n % 10]}{'abcdefghij'[n // 10]}"} for n in range(100)]
    held_out = [{"batch": value} for value in ("aa", "ab") for _ in range(6)]
    assert not class_columns(held_out, infer(catalogue)) and class_columns(held_out)


def test_types_survive_a_receipt():
    attributes = infer([{"colour": COLOURS[n % 4], "price": n} for n in range(20)])
    assert from_figures({"attributes": as_figures(attributes)}) == attributes
    for damaged in (
        {},
        {"attributes": 3},
        {"attributes": {"a": {"type": "text"}}},
        {"attributes": {"a": {"type": "x", "values": 1, "is_kind": True}}},
    ):
        assert from_figures(damaged) is None


def test_prepare_stores_the_types(tmp_path):
    source = write_photos(
        tmp_path / "shop", 24, color=lambda n: COLOURS[n % 4], price=lambda n: f"{n}.90 EUR"
    )
    attributes = from_figures(prepare(Project(tmp_path / "p"), Recipe(), source).figures)
    assert attributes is not None
    types = {name: (each.type, each.is_kind) for name, each in attributes.items()}
    assert types == {
        "product": ("text", False),
        "color": ("text", True),
        "price": ("number", False),
    }
