"""A shop's export, from the file it downloads to what `unidiff retrieve --json` answers."""

import csv
import io
import json
from pathlib import Path

import pytest

from tests.support.catalogue import encoded, photo, put
from tests.support.cli import on_tiny_base
from tests.support.projects import copy_project
from unidiff_cli.data.shards import Shards

CDN = "https://cdn.shopify.com/s/files/1/0001/products"
SHOP = "https://shop.example/media"
# System -> separator, columns, rows, images, and for each image: caption, product, attributes.
FEEDS = {
    "Shopify": (
        ",",
        "Handle,Title,Body (HTML),Vendor,Type,Option1 Name,Option1 Value,Variant SKU,"
        "Variant Price,Image Src,Image Position,Variant Image",
        [
            ["dress", "Linen Dress", "<p>Cool</p>", "Acme", "Dresses", "Color", "Red", "D-R", "20"]
            + [f"{CDN}/a.jpg?v=1", "1", f"{CDN}/a.jpg?v=1"],
            ["dress", "", "", "", "", "", "Blue", "D-B", "22", f"{CDN}/b.jpg?v=1", "2", ""],
            ["hat", "Wool Hat", "", "Acme", "Hats", "Title", "Default", "H", "9"]
            + [f"{CDN}/h.jpg", "1", ""],
        ],
        ["images/a.jpg", "images/b.jpg", "images/h.jpg"],
        {
            "images/a.jpg": ("Linen Dress", "dress", {"Vendor": "Acme", "Variant Price": "20"}),
            "images/b.jpg": ("Linen Dress", "dress", {"Vendor": "Acme"}),
            "images/h.jpg": ("Wool Hat", "hat", {"Type": "Hats"}),
        },
    ),
    "WooCommerce": (
        ",",
        "ID,Type,SKU,Name,Published,Short description,Description,Regular price,Images,Parent",
        [
            ["1", "variable", "HOOD", "Hoodie", "1", "", "<p>Soft</p>", "", "a.jpg, b.jpg", ""],
            ["2", "variation", "HOOD-R", "Hoodie - Red", "1", "", "", "45", "c.jpg", "HOOD"],
            ["3", "simple", "CAP", "Cap", "1", "", "", "16", "d.jpg", ""],
        ],
        ["a.jpg", "b.jpg", "c.jpg", "d.jpg"],
        {
            "a.jpg": ("Hoodie", "HOOD", {}),
            "b.jpg": ("Hoodie", "HOOD", {}),
            "c.jpg": ("Hoodie - Red", "HOOD", {"Regular price": "45"}),
            "d.jpg": ("Cap", "CAP", {"Regular price": "16"}),
        },
    ),
    "Magento": (
        ",",
        "sku,product_type,name,description,price,base_image,small_image,thumbnail_image,"
        "additional_images,configurable_variations",
        [
            ["MS-S", "simple", "Shirt S", "<p>x</p>", "9.5", *["/m/s/a.jpg"] * 3, "/m/s/b.jpg", ""],
            ["MS", "configurable", "Shirt", "", "", "/m/s/c.jpg", "", "", "", "sku=MS-S,size=S"],
            ["BAG", "simple", "Bag", "", "30", "/b/d.jpg", "", "", "", ""],
        ],
        [f"pub/media/catalog/product/{name}.jpg" for name in ("m/s/a", "m/s/b", "m/s/c", "b/d")],
        {
            "pub/media/catalog/product/m/s/a.jpg": ("Shirt S", "MS", {"price": "9.5"}),
            "pub/media/catalog/product/m/s/b.jpg": ("Shirt S", "MS", {}),
            "pub/media/catalog/product/m/s/c.jpg": ("Shirt", "MS", {}),
            "pub/media/catalog/product/b/d.jpg": ("Bag", "BAG", {"price": "30"}),
        },
    ),
    "Akeneo": (
        ";",
        "sku;categories;enabled;family;groups;parent;name-en_US;color;picture",
        [
            ["S-1", "shirts", "1", "clothing", "", "S", "Shirt red", "red", "files/S-1/a.jpg"],
            ["S-2", "shirts", "1", "clothing", "", "S", "Shirt blue", "blue", "files/S-2/b.jpg"],
            ["B-1", "bags", "1", "bags", "", "", "Bag", "", "files/B-1/c.jpg"],
        ],
        ["files/S-1/a.jpg", "files/S-2/b.jpg", "files/B-1/c.jpg"],
        {
            "files/S-1/a.jpg": ("Shirt red", "S", {"color": "red"}),
            "files/S-2/b.jpg": ("Shirt blue", "S", {"color": "blue"}),
            "files/B-1/c.jpg": ("Bag", "B-1", {"family": "bags"}),
        },
    ),
    "Google Merchant": (
        "\t",
        "id\ttitle\tdescription\tlink\timage_link\tadditional_image_link\titem_group_id\tcolor",
        [
            ["1", "Red shirt", "x", f"{SHOP}/1", f"{SHOP}/a.jpg", f"{SHOP}/b.jpg", "G", "red"],
            ["2", "Blue shirt", "x", f"{SHOP}/2", f"{SHOP}/c.jpg", "", "G", "blue"],
            ["3", "", "A bag", f"{SHOP}/3", f"{SHOP}/d%20e.jpg?w=9", "", "", "black"],
        ],
        ["photos/a.jpg", "photos/b.jpg", "photos/c.jpg", "photos/d e.jpg"],
        {
            "photos/a.jpg": ("Red shirt", "G", {"color": "red"}),
            "photos/b.jpg": ("Red shirt", "G", {"color": "red"}),
            "photos/c.jpg": ("Blue shirt", "G", {"color": "blue"}),
            "photos/d e.jpg": ("A bag", "3", {"color": "black"}),
        },
    ),
}


def write(folder: Path, separator: str, header: str, rows, images) -> Path:
    for number, name in enumerate(images):
        put(folder / name, encoded(photo(number)))
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerows([header.split(separator), *rows])
    put(folder / ("feed.tsv" if separator == "\t" else "export.csv"), text.getvalue())
    return folder


# Every image is a hit.
ALL = ("--group-by", "none", "--json")


@pytest.mark.parametrize("system", FEEDS)
def test_the_rows_an_owner_expects_are_retrieved(unidiff, tmp_path, finished, tiny_base, system):
    *feed, expected = FEEDS[system]
    project = on_tiny_base(copy_project(finished, tmp_path), tiny_base)
    shop = write(tmp_path / "shop", *feed)
    code, out, err = unidiff("-C", project.root, "prepare", shop, "--force")
    assert code == 0 and "bad rows" in out and f"columns of {system}'s" in err, out
    assert unidiff("-C", project.root, "index")[0] == 0
    code, out, err = unidiff("-C", project.root, "retrieve", "a dress", "-k", "99", *ALL)
    assert code == 0, err
    hits = {Path(hit["path"]).relative_to(shop).as_posix(): hit for hit in json.loads(out)}
    assert {path: hit["caption"] for path, hit in hits.items()} == {
        path: caption for path, (caption, _, _) in expected.items()
    }
    for path, (_, _, attributes) in expected.items():
        assert attributes.items() <= hits[path]["attributes"].items(), hits[path]
    types = json.loads(project.path("shards", "receipt.json").read_text())["figures"]["attributes"]
    assert {types[name]["type"] for name in types if "price" in name.lower()} <= {"number"}
    rows = Shards.open(project.path("shards")).rows()
    grouped = {row.group: set() for row in rows}
    for row in rows:
        grouped[row.group].add(row.path)
    products = {}
    for path, (_, product, _) in expected.items():
        products.setdefault(product, set()).add(path)
    assert sorted(map(sorted, grouped.values())) == sorted(map(sorted, products.values()))
