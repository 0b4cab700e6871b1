"""Exports of shop systems give the images, products and captions that their owners expect."""

import csv
import io
from pathlib import Path

import pytest

from tests.support.catalogue import encoded, photo, put
from tests.support.reading import read
from unidiff_cli import Project, Recipe, prepare
from unidiff_cli.config.prepare import Columns, Prepare
from unidiff_cli.data import readers
from unidiff_cli.data.readers.columns.feeds import recognise
from unidiff_cli.data.readers.table import VARIANTS
from unidiff_cli.data.shards import Shards


def write(folder: Path, header: str, rows: list[list[str]], images: str = "", sep=",") -> Path:
    """A table of these columns, and a JPEG for each path of `images`."""
    for name in images.split():
        put(folder / name)
    text = io.StringIO()
    csv.writer(text, delimiter=sep).writerows([header.split(sep), *rows])
    return put(folder / "export.csv", text.getvalue())


def samples_of(folder: Path, **options) -> list[tuple[str, str, str | None]]:
    """File, caption and product of every sample; there are no rejected rows."""
    samples, rejected = read(folder, **options)
    assert not rejected, rejected
    assert all(len(sample.captions) == 1 for sample in samples)
    return [(s.image.name, s.captions[0], s.product) for s in samples]


# ---------------------------------------------------------------- Shopify

SHOPIFY = (
    "Handle,Title,Body (HTML),Vendor,Type,Option1 Name,Option1 Value,Variant SKU,"
    "Variant Price,Image Src,Image Position,Image Alt Text,Variant Image"
)
CDN = "https://cdn.shopify.com/s/files/1/0001/products/"


def shopify_rows(source: str = CDN) -> list[list[str]]:
    """A dress of three images and four variants, two of them red, and a hat of one image."""
    return [
        ["dress", "Linen Dress", "<p>Cool</p>", "Acme", "Dresses", "Color", "Red", "D-R-S", "20"]
        + [source + "a.jpg?v=1", "1", "front", source + "a.jpg?v=2"],
        ["dress", "", "", "", "", "", "Red", "D-R-M", "20"] + [source + "b.jpg?v=1", "2", "", ""],
        ["dress", "", "", "", "", "", "Blue", "D-B-S", "20"]
        + [source + "c.jpg?v=1", "3", "", source + "c.jpg"],
        ["dress", "", "", "", "", "", "Blue", "D-B-M", "20", "", "", "", source + "d.jpg"],
        ["dress", "", "", "", "", "", "Grey", "D-G-M", "20", "", "", "", ""],
        ["hat", "", "A warm hat", "Acme", "Hats", "Title", "Default", "H", "9"]
        + [source + "h.jpg", "1", "", ""],
    ]


def test_rows_of_one_handle_are_one_product_with_the_words_of_its_first_row(tmp_path):
    write(
        tmp_path,
        SHOPIFY,
        shopify_rows(),
        "images/a.jpg images/b.jpg images/c.jpg images/d.jpg images/h.jpg",
    )
    dress = [(f"{name}.jpg", "Linen Dress", "dress") for name in "abcd"]
    # A product without a title has its description.
    assert samples_of(tmp_path) == [*dress, ("h.jpg", "A warm hat", "hat")]


def test_a_variants_cells_are_those_of_its_own_image(tmp_path):
    write(
        tmp_path,
        SHOPIFY,
        shopify_rows("images/"),
        "images/a.jpg images/b.jpg images/c.jpg images/d.jpg images/h.jpg",
    )
    attributes = {s.image.name: s.attributes for s in read(tmp_path)[0]}
    colours = {name: cells["Option1 Value"] for name, cells in attributes.items()}
    # No variant says that b.jpg is its image, and the variants differ.
    assert colours == {
        "a.jpg": "Red",
        "b.jpg": "",
        "c.jpg": "Blue",
        "d.jpg": "Blue",
        "h.jpg": "Default",
    }
    assert {cells["Vendor"] for cells in attributes.values()} == {"Acme"}
    assert attributes["b.jpg"]["Variant Price"] == "20"
    assert (attributes["b.jpg"]["Type"], attributes["h.jpg"]["Type"]) == ("Dresses", "Hats")


def test_variants_without_an_image_are_no_bad_rows_and_counted(tmp_path):
    path = write(tmp_path, SHOPIFY, shopify_rows("images/"), "images/a.jpg")
    reader = readers.choose(path, Prepare())
    list(reader)
    assert reader.notes[VARIANTS] == 1
    description = "\n".join(reader.describe())
    assert "Shopify" in description and "product = Handle" in description


def test_a_shopify_export_that_was_sorted_keeps_its_words(tmp_path):
    rows = shopify_rows("images/")
    write(tmp_path, SHOPIFY, [rows[2], rows[5], rows[0]], "images/a.jpg images/c.jpg images/h.jpg")
    assert [caption for _, caption, _ in samples_of(tmp_path)] == [
        "Linen Dress",
        "A warm hat",
        "Linen Dress",
    ]


def test_the_columns_of_2025_are_shopifys_too(tmp_path):
    header = "Title,URL handle,Description,Vendor,SKU,Option1 value,Price,Product image URL"
    rows = [
        ["Dress", "dress", "", "Acme", "D1", "S", "20", "a.jpg"],
        ["", "dress", "", "", "D2", "M", "20", "b.jpg"],
    ]
    write(tmp_path, header, rows, "a.jpg b.jpg")
    assert samples_of(tmp_path) == [("a.jpg", "Dress", "dress"), ("b.jpg", "Dress", "dress")]


def test_a_product_without_any_image_is_a_bad_row(tmp_path):
    rows = shopify_rows("images/")
    rows[5][9] = ""
    write(tmp_path, SHOPIFY, rows, " ".join(f"images/{n}.jpg" for n in "abcd"))
    _, rejected = read(tmp_path)
    assert [(r.row, r.reason.text) for r in rejected] == [
        ("export.csv:7", "no image: the column 'Image Src' is empty")
    ]


# ---------------------------------------------------------------- WooCommerce

WOO_IN_LANGUAGES = [
    "ID,Typ,Artikelnummer,Name,Veröffentlicht,Kurzbeschreibung,Übergeordnetes Produkt,Bilder",
    "ID,Type,UGS,Nom,Publié,Description courte,Parent,Images",
    "ID,Tipo,SKU,Nombre,Publicado,Descripción corta,Superior,Imágenes",
    "ID,Tipo,COD,Nome,Pubblicato,Breve descrizione,Genitore,Immagini",
    "ID,Type,SKU,Naam,Gepubliceerd,Korte beschrijving,Hoofd,Afbeeldingen",
    "ID,Rodzaj,SKU,Nazwa,Opublikowano,Krótki opis,Nadrzędny,Obrazki",
    "ID,Tipo,REF,Nome,Publicado,Descrição breve,Pai,Imagens",
]


@pytest.mark.parametrize("header", WOO_IN_LANGUAGES)
def test_the_export_is_known_in_other_languages(tmp_path, header):
    rows = [
        ["1", "variable", "D", "Dress", "1", "cool", "", "img/a.jpg"],
        ["2", "variation", "D-1", "Dress - S", "1", "", "D", "img/b.jpg"],
        ["3", "variation", "D-2", "", "1", "", "id:1", "img/c.jpg"],
        ["4", "simple", "H", "Hat", "1", "", "", "img/d.jpg"],
    ]
    path = write(tmp_path, header, rows, "img/a.jpg img/b.jpg img/c.jpg img/d.jpg")
    assert samples_of(path) == [
        ("a.jpg", "Dress", "D"),
        ("b.jpg", "Dress - S", "D"),
        ("c.jpg", "Dress", "D"),
        ("d.jpg", "Hat", "H"),
    ]


WOO = "ID,Type,SKU,Name,Published,Short description,Description,Images,Parent,Attribute 1 value(s)"


@pytest.mark.parametrize("separator", [", ", " | "])
def test_images_of_a_cell_are_one_product_and_variations_belong_to_their_parent(
    tmp_path, separator
):
    rows = [
        ["1", "variable", "HOOD", "Hoodie", "1", "", "<p>Soft</p>"]
        + [separator.join(["img/a.jpg", "img/b.jpg"]), "", "Red, Blue"],
        ["2", "variation", "HOOD-R", "Hoodie - Red", "1", "", "", "img/c.jpg", "HOOD", "Red"],
        ["3", "variation", "HOOD-B", "", "1", "", "", "img/d.jpg", "id:1", "Blue"],
        ["4", "variation", "HOOD-G", "Hoodie - Grey", "1", "", "", "", "HOOD", "Grey"],
        ["5", "simple", "", "Cap", "1", "", "", "img/e.jpg", "", ""],
    ]
    path = write(tmp_path, WOO, rows, "img/a.jpg img/b.jpg img/c.jpg img/d.jpg img/e.jpg")
    assert samples_of(tmp_path) == [
        ("a.jpg", "Hoodie", "HOOD"),
        ("b.jpg", "Hoodie", "HOOD"),
        ("c.jpg", "Hoodie - Red", "HOOD"),
        ("d.jpg", "Hoodie", "HOOD"),
        ("e.jpg", "Cap", "id:5"),
    ]
    reader = readers.choose(path, Prepare())
    list(reader)
    assert reader.notes[VARIANTS] == 1


def test_parents_may_come_after_their_variations(tmp_path):
    rows = [
        ["2", "variation", "R", "", "1", "", "", "a.jpg", "id:1", "Red"],
        ["1", "variable", "HOOD", "Hoodie", "1", "", "", "b.jpg", "", "Red"],
    ]
    write(tmp_path, WOO, rows, "a.jpg b.jpg")
    assert samples_of(tmp_path) == [("a.jpg", "Hoodie", "HOOD"), ("b.jpg", "Hoodie", "HOOD")]


def test_the_first_image_only(tmp_path):
    rows = [["1", "simple", "S", "Cap", "1", "", "", "a.jpg, b.jpg", "", ""]]
    path = write(tmp_path, WOO, rows, "a.jpg b.jpg")
    assert samples_of(tmp_path, images="first") == [("a.jpg", "Cap", "S")]
    reader = readers.choose(path, Prepare(images="first"))
    list(reader)
    assert reader.notes["further images of a row, left out by prepare.images"] == 1


# ---------------------------------------------------------------- Magento

MAGENTO = (
    "sku,store_view_code,product_type,name,description,base_image,small_image,thumbnail_image,"
    "swatch_image,additional_images,configurable_variations"
)


def test_magentos_children_belong_to_their_configurable_product(tmp_path):
    image = "/m/s/ms-blue.jpg"
    rows = [
        ["MS-S", "", "simple", "Shirt S", "<p>x</p>", image, image, image, image]
        + [image + ",/m/s/back.jpg", ""],
        ["MS-S", "de", "simple", "Hemd S", "", image, "", "", "", "", ""],
        ["MS-M", "", "simple", "Shirt M", "", "no_selection", "no_selection", "", "", "", ""],
        ["MS", "", "configurable", "Shirt", "", "/m/s/all.jpg", "", "", "", ""]
        + ["sku=MS-S,size=S|sku=MS-M,size=M"],
        ["BAG", "", "simple", "Bag", "", "/b/a/bag.jpg", "", "", "", "", ""],
    ]
    media = "pub/media/catalog/product"
    images = [f"{media}/m/s/{n}.jpg" for n in ("ms-blue", "back", "all")] + [f"{media}/b/a/bag.jpg"]
    write(tmp_path, MAGENTO, rows, " ".join(images))
    assert samples_of(tmp_path) == [
        ("ms-blue.jpg", "Shirt S", "MS"),
        ("back.jpg", "Shirt S", "MS"),
        ("all.jpg", "Shirt", "MS"),
        ("bag.jpg", "Bag", "BAG"),
    ]
    description = "\n".join(readers.choose(tmp_path, Prepare()).describe())
    assert "images are found as pub/media/catalog/product/<base_image>" in description
    assert "not read: small_image" in description


# ---------------------------------------------------------------- Akeneo

AKENEO = "sku;categories;enabled;family;groups;parent;name-de_DE;name-en_US;color;picture"


def test_akeneos_variants_belong_to_their_parent_and_the_language_is_said(tmp_path):
    rows = [
        ["S-1", "shirts", "1", "clothing", "", "S", "Hemd rot", "Shirt red", "red"]
        + ["files/S-1/picture/a.jpg"],
        ["S-2", "shirts", "1", "clothing", "", "S", "Hemd blau", "Shirt blue", "blue", ""],
        ["B-1", "bags", "1", "bags", "", "", "Tasche", "Bag", "", "files/B-1/picture/b.jpg"],
    ]
    images = "files/S-1/picture/a.jpg files/B-1/picture/b.jpg"
    path = write(tmp_path, AKENEO, rows, images, sep=";")
    assert samples_of(tmp_path) == [("a.jpg", "Shirt red", "S"), ("b.jpg", "Bag", "B-1")]
    reader = readers.choose(path, Prepare())
    list(reader)
    assert reader.notes[VARIANTS] == 1
    assert ["name-de_DE" in doubt.fact for doubt in reader.doubts()] == [True]
    german = samples_of(tmp_path, columns=Columns(caption="name-de_DE"))
    assert [caption for _, caption, _ in german] == ["Hemd rot", "Tasche"]


# ---------------------------------------------------------------- Google Merchant


@pytest.mark.parametrize(
    "header",
    [
        "id,title,description,link,image_link,additional_image_link,item_group_id",
        "g:id,g:title,g:description,g:link,g:image_link,g:additional_image_link,g:item_group_id",
        "id,title,description,link,image link,additional image link,item group id",
        "id,title,description,link,imageLink,additionalImageLinks,itemGroupId",
    ],
)
def test_items_of_a_group_are_one_product(tmp_path, header):
    shop = "https://shop.example/media/"
    rows = [
        ["1", "Red shirt", "x", "https://shop.example/1", shop + "a.jpg"]
        + [f"{shop}b.jpg,{shop}c.jpg", "G"],
        ["2", "Blue shirt", "x", "https://shop.example/2", shop + "d.jpg", "", "G"],
        ["3", "", "A bag", "https://shop.example/3", shop + "e%20f.jpg?w=9", "", ""],
    ]
    images = " ".join(f"photos_2024/{name}.jpg" for name in "abcd")
    put(tmp_path / "photos_2024" / "e f.jpg")
    write(tmp_path, header, rows, images)
    assert samples_of(tmp_path) == [
        ("a.jpg", "Red shirt", "G"),
        ("b.jpg", "Red shirt", "G"),
        ("c.jpg", "Red shirt", "G"),
        ("d.jpg", "Blue shirt", "G"),
        ("e f.jpg", "A bag", "3"),
    ]


# ---------------------------------------------------------------- to the shards


def test_a_product_of_a_feed_stays_in_one_split(tmp_path):
    folder = tmp_path / "shop"
    header = "Handle,Title,Vendor,Option1 Value,Image Src"
    rows = []
    for n in range(36):
        put(folder / "images" / f"{n}.jpg", encoded(photo(n)))
        title = f"Dress {n // 3}" if n % 3 == 0 else ""
        rows.append([f"dress-{n // 3}", title, "Acme" if title else "", "SML"[n % 3]])
        rows[-1].append(f"https://cdn.shopify.com/s/files/1/products/{n}.jpg?v=1")
    write(folder, header, rows)
    project = Project(tmp_path / "project")
    receipt = prepare(project, Recipe(), folder)
    assert receipt.figures["decisions"]["product column"] == "Handle"
    assert receipt.figures["decisions"]["images found"] == (
        "by the end of the path in 'Image Src', below images"
    )
    stored = Shards.open(project.path("shards")).rows()
    assert len(stored) == 36 and len({row.group for row in stored}) == 12
    assert len({(row.group, row.split) for row in stored}) == 12
    assert {row.split for row in stored} == {"train", "val", "test"}
    second = next(row for row in stored if row.path == "images/1.jpg")
    assert second.captions == ("Dress 0",) and second.attributes["Vendor"] == "Acme"


# ---------------------------------------------------------------- no feed


@pytest.mark.parametrize(
    "names", [["image", "caption"], ["type", "name", "image"], ["handle", "title", "image"], []]
)
def test_other_tables_are_no_export(names):
    assert recognise(names) is None


def test_mapped_columns_win_over_a_feed(tmp_path):
    write(tmp_path, SHOPIFY, shopify_rows("images/"), "images/a.jpg images/h.jpg")
    columns = Columns(image="Image Src", caption="Body (HTML)", product="Vendor")
    products = {s.captions: s.product for s in read(tmp_path, columns=columns)[0]}
    assert products == {("Cool",): "Acme", ("A warm hat",): "Acme"}


def test_other_image_columns_than_a_feeds_are_read_row_by_row(tmp_path):
    rows = shopify_rows("images/")
    write(tmp_path, SHOPIFY, rows, "images/a.jpg images/c.jpg images/d.jpg")
    samples, rejected = read(tmp_path, columns=Columns(image="Variant Image"))
    assert len(samples) == 1 and len(rejected) == 5


# ---------------------------------------------------------------- Amazon

AMAZON = "item_sku,item_name,parent_child,parent_sku,main_image_url,other_image_url1"


@pytest.mark.parametrize(
    ("header", "parent"),
    [
        (AMAZON, "Parent"),
        (AMAZON.replace("parent_child", "Parentage"), "parent"),
        ("SKU,Product Name,Parentage Level,Parent SKU,Main Image,Other Image", "Parent"),
    ],
)
def test_amazons_parents_have_no_image_of_their_own(tmp_path, header, parent):
    rows = [["P1", "Linen Dress", parent, "", "", ""]]
    rows += [[f"P1-{n}", f"Linen Dress {n}", "Child", "P1", f"{n}.jpg", ""] for n in range(3)]
    rows[1][5] = "back.jpg"
    folder = write(tmp_path, header, rows, "0.jpg 1.jpg 2.jpg back.jpg").parent
    assert samples_of(folder) == [
        ("0.jpg", "Linen Dress 0", "P1"),
        ("back.jpg", "Linen Dress 0", "P1"),
        ("1.jpg", "Linen Dress 1", "P1"),
        ("2.jpg", "Linen Dress 2", "P1"),
    ]
    reader = readers.choose(folder, Prepare())
    assert len(list(reader)) == 4 and reader.notes[VARIANTS] == 1


def test_a_parent_of_nothing_is_a_bad_row(tmp_path):
    rows = [["P1", "Linen Dress", "Parent", "", "", ""]]
    rows += [[f"Q-{n}", f"Hat {n}", "Child", "Q", f"{n}.jpg", ""] for n in range(3)]
    _, (rejected,) = read(write(tmp_path, AMAZON, rows, "0.jpg 1.jpg 2.jpg").parent)
    assert rejected.row == "export.csv:2" and "no image" in rejected.reason.text


def test_amazons_template_of_three_header_lines_is_read_as_a_text(tmp_path):
    header = AMAZON.split(",")
    lines = [
        ["TemplateType=fptcustom", "Version=2023", "", "", "", ""],
        ["Seller SKU", "Product Name", "Parentage", "Parent SKU", "Main Image", "Other Image"],
        header,
        ["P1", "Linen Dress", "Parent", "", "", ""],
        *([f"P1-{n}", f"Linen Dress {n}", "Child", "P1", f"{n}.jpg", ""] for n in range(4)),
    ]
    for n in range(4):
        put(tmp_path / "swatch" / f"{n}.jpg")
        put(tmp_path / "images" / f"{n}.jpg")
        lines[4 + n][4] = f"images/{n}.jpg"
    put(tmp_path / "flatfile.txt", "".join("\t".join(line) + "\r\n" for line in lines))
    assert samples_of(tmp_path) == [(f"{n}.jpg", f"Linen Dress {n}", "P1") for n in range(4)]
