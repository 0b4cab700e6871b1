"""Which column of a table groups its rows as products, and which ones are asked for."""

from pathlib import Path

import pytest

from tests.support.catalogue import put
from tests.support.reading import read
from unidiff_cli.config.prepare import Columns, Prepare
from unidiff_cli.data import readers
from unidiff_cli.data.columns import plain

COLOURS, FABRICS = ("red", "blue", "green", "black", "white", "yellow", "brown"), ("cotton", "wool")
GOODS = ("dress", "shirt", "skirt", "coat", "hat")


def caption(n: int) -> str:
    return f"{COLOURS[n % 7]} {FABRICS[n % 2]} {GOODS[n % 5]}"


def catalogue(folder: Path, columns: dict, count: int = 30) -> Path:
    """Thirty photos of ten products; a column is a function of the row's number."""
    columns = {"image": lambda n: f"p{n}.jpg", "title": lambda n: caption(n // 3)} | columns
    lines = [";".join(columns)]
    for n in range(count):
        lines.append(";".join(str(value(n)) for value in columns.values()))
        put(folder / f"p{n}.jpg")
    return put(folder / "catalog.csv", "\n".join(lines) + "\n")


def grouped(path: Path) -> tuple[str | None, int, list]:
    """The product column, how many products the samples have, and the doubts."""
    reader = readers.choose(path, Prepare())
    samples = [item for item in reader]
    products = {sample.product for sample in samples} - {None}
    return reader.decisions().get("product column"), len(products), reader.doubts()


@pytest.mark.parametrize(
    ("columns", "chosen"),
    [
        ({"product_id": lambda n: 1000 + n, "parent_sku": lambda n: f"M{n // 3}"}, "parent_sku"),
        (
            {"Product": lambda n: f"Item {n}", "Style Number": lambda n: f"S{n // 3}"},
            "Style Number",
        ),
        ({"PRODUCT": lambda n: f"Hat {n // 3}", "ITEMGROUP_ID": lambda n: n // 3}, "ITEMGROUP_ID"),
        ({"product_id": lambda n: n, "sku": lambda n: f"S{n // 3}"}, "sku"),
        ({"style_code": lambda n: f"S{n}", "handle": lambda n: f"h-{n // 3}"}, "handle"),
        ({"product_id": lambda n: n // 2, "parent_asin": lambda n: f"B{n // 3}"}, "parent_asin"),
        # Names of other languages.
        ({"Vaterartikelnummer": lambda n: f"V{n // 3}"}, "Vaterartikelnummer"),
        ({"Art.-Nr.": lambda n: f"A{n // 3}"}, "Art.-Nr."),
        ({"Référence": lambda n: f"R{n // 3}"}, "Référence"),
        ({"listing_id": lambda n: 70000 + n // 3}, "listing_id"),
        ({"Código de producto": lambda n: f"C{n // 3}"}, None),
        ({"Código producto": lambda n: f"C{n // 3}"}, "Código producto"),
        ({"SKU padre": lambda n: f"C{n // 3}", "SKU": lambda n: n}, "SKU padre"),
        ({"Produkt nadrzędny": lambda n: f"P{n // 3}"}, "Produkt nadrzędny"),
    ],
)
def test_the_column_that_groups_is_the_product(tmp_path, columns, chosen):
    path = catalogue(tmp_path, columns)
    column, products, doubts = grouped(path)
    assert column == chosen
    if chosen:
        assert products == 10 and not [d for d in doubts if d.stops]
    else:
        assert any(doubt.stops for doubt in doubts)


def test_a_column_of_single_values_is_the_product_where_nothing_groups(tmp_path):
    columns = {"product_id": lambda n: 1000 + n, "title": caption}
    assert grouped(catalogue(tmp_path, columns)) == ("product_id", 30, [])


def test_columns_that_group_otherwise_are_named(tmp_path):
    columns = {"product": lambda n: f"P{n // 3}", "style_code": lambda n: f"S{(n + 1) // 3}"}
    column, products, (doubt,) = grouped(catalogue(tmp_path, columns))
    assert (column, products) == ("product", 10) and not doubt.stops
    assert "'style_code' groups them otherwise" in doubt.fact


def test_finer_columns_are_no_doubt(tmp_path):
    columns = {"product": lambda n: f"P{n // 6}", "style_code": lambda n: f"S{n // 3}"}
    assert grouped(catalogue(tmp_path, columns)) == ("product", 5, [])


@pytest.mark.parametrize("name", ["sku", "interne Nummer"])
def test_parents_are_found_by_the_column_that_names_them(tmp_path, name):
    columns = {
        "id": lambda n: 100 + n,
        name: lambda n: f"S{n // 3}" if n % 3 == 0 else f"S{n // 3}-{n % 3}",
        "Parent": lambda n: f"S{n // 3}" if n % 3 else "",
    }
    assert grouped(catalogue(tmp_path, columns)) == ("Parent", 10, [])


# ---------------------------------------------------------------- columns of unknown names


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Nummer intern", lambda n: f"A{n // 3}"),
        ("cikkszám", lambda n: 70000 + n // 3),
        ("Varenr", lambda n: f"{n // 3:03d}-X"),
        ("tavara", lambda n: f"T{n * 7 % 30 // 3}"),
    ],
)
def test_a_column_that_repeats_like_a_number_of_goods_is_asked_for(tmp_path, name, values):
    columns = {name: values, "title": lambda n: f"{caption(int(str(n * 7 % 30 // 3)))} {n}"}
    if name != "tavara":
        columns["title"] = lambda n: f"{caption(n // 3)} seen {n % 3}"
    path = catalogue(tmp_path, columns)
    column, _, (doubt,) = grouped(path)
    assert column is None and doubt.stops
    assert f"'{name}' repeats like a product's number (10 values in 30 rows)" in doubt.fact
    assert f"prepare.columns.product={name}" in doubt.action
    samples, _ = read(path, columns=Columns(product=name))
    assert len({sample.product for sample in samples}) == 10
    assert not readers.choose(path, Prepare(columns=Columns(product=""))).doubts()


def test_numbers_that_lie_together_are_a_warning_where_captions_say_nothing(tmp_path):
    columns = {"Charge": lambda n: f"LOT{n // 3}", "title": caption}
    _, _, (doubt,) = grouped(catalogue(tmp_path, columns))
    assert "'Charge' repeats like a product's number" in doubt.fact and not doubt.stops


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("colour_code", lambda n: f"C{n // 3}"),
        ("Größe", lambda n: 36 + n % 10),
        ("size", lambda n: f"{36 + n // 3}cm"),
        ("Preis", lambda n: f"{n // 3},90"),
        ("cost", lambda n: f"{10 + n // 3}.50"),
        ("brand", lambda n: f"No{n // 3}"),
        ("made", lambda n: f"2024-01-{n // 3 + 10}"),
        ("kind", lambda n: GOODS[n % 5]),
        ("shelf", lambda n: n % 12),
        ("seller_id", lambda n: 50000 + n // 3),
        ("half", lambda n: f"H{n % 2}"),
    ],
)
def test_colours_sizes_prices_and_kinds_are_no_numbers_of_goods(tmp_path, name, values):
    path = catalogue(tmp_path, {name: values, "title": lambda n: f"{caption(n)} seen {n}"})
    assert grouped(path) == (None, 0, [])


def test_rows_of_one_image_need_no_product(tmp_path):
    columns = {"bildnr": lambda n: f"B{n // 3}", "image": lambda n: f"p{n // 3}.jpg"}
    assert grouped(catalogue(tmp_path, columns)) == (None, 0, [])


@pytest.mark.parametrize(
    ("column", "wanted"),
    [
        ("Référence", "reference"),
        ("Übergeordnetes Produkt", "ubergeordnetesprodukt"),
        ("zdjęcie główne", "zdjecieglowne"),
        ("Größe", "grosse"),
        ("画像", "画像"),
        ("ガ", "ガ"),
    ],
)
def test_names_are_compared_without_accents(column, wanted):
    assert plain(column) == wanted


def test_numbers_of_a_stock_are_no_parents_names(tmp_path):
    """Half of the rows have a parent; the numbers of the stock are those of parents by chance."""
    columns = {
        "id": lambda n: 1000 + n,
        "parent_id": lambda n: n // 3 + 1 if n < 15 else "",
        "stock": lambda n: n % 7,
    }
    column, count, _ = grouped(catalogue(tmp_path, columns))
    # Five parents, and fifteen rows that are their own.
    assert column.startswith("parent_id") and count == 5 + 15


@pytest.mark.parametrize("each", [2, 3])
def test_words_of_a_style_are_asked_for(tmp_path, each):
    words = "Casual Boho Formal Sport Beach Street Retro Party Office Home Lounge".split()
    columns = {
        "title": lambda n: f"{COLOURS[n % 7]} {GOODS[n % 5]} {n}",
        "style": lambda n: words[n // each % 11],
    }
    _, _, doubts = grouped(catalogue(tmp_path, columns, 11 * each))
    (doubt,) = [doubt for doubt in doubts if doubt.stops]
    assert "may be products or kinds" in doubt.fact
    assert "--set prepare.columns.product=''" in doubt.action
