"""Tables in every file they come in: JSON of many shapes, packed files, texts, Excel and feeds."""

import datetime
import gzip
import json
import zipfile
from pathlib import Path

import openpyxl
import pyarrow
import pyarrow.parquet
import pytest

from tests.support.catalogue import put
from tests.support.reading import read
from unidiff_cli.config.prepare import Limits, Prepare, TableFile
from unidiff_cli.data import readers
from unidiff_cli.data.locations import LocalPath
from unidiff_cli.data.readers.rows import formats
from unidiff_cli.data.sample import Reason
from unidiff_cli.errors import EnvironmentProblem, UsageError, WorkError

ROWS = [{"image": "a.jpg", "caption": f"red dress {n}"} for n in range(5)]
CAPTIONS = [row["caption"] for row in ROWS]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
CSV = "image,caption\n" + "".join(f"a.jpg,{caption}\n" for caption in CAPTIONS)


def table(folder: Path, name: str, data: str | bytes | object) -> Path:
    """A table beside an image a.jpg; what is no text is written as JSON."""
    put(folder / "a.jpg")
    return put(folder / name, data if isinstance(data, str | bytes) else json.dumps(data))


def captions(path: Path, **options) -> list[str]:
    samples, rejected = read(path, **options)
    assert not rejected, rejected
    return [sample.captions[0] for sample in samples]


def rows_of(path: Path, **options) -> list[dict]:
    """The rows of a file, without their numbers."""
    return [row for _, row in formats.read(LocalPath(path), Prepare(**options))]


# ---------------------------------------------------------------- JSON


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("products.json", LINES),
        ("products.json", LINES.splitlines()[0]),
        ("products.jsonl", json.dumps(ROWS, indent=2)),
        ("products.jsonl", json.dumps(ROWS)),
        ("products.jsonl", "\ufeff" + LINES.replace("\n", "\r\n")),
        ("products.ndjson", "\n" + LINES.replace("}\n", "},\n")),
        ("products.json", {"data": ROWS}),
        ("products.json", {"count": 5, "products": ROWS, "next": None, "facets": ["a"]}),
        ("products.json", {"info": {"year": 2026}, "items": ROWS}),
        ("products.json", {"response": {"status": "ok", "page": {"docs": ROWS}}}),
    ],
)
def test_rows_of_json_are_found_wherever_they_are(tmp_path, name, data):
    path = table(tmp_path, name, data)
    assert captions(path) == CAPTIONS[: 1 if data == LINES.splitlines()[0] else 5]


def test_several_lists_of_objects_are_asked_for_by_name(tmp_path):
    path = table(tmp_path, "shop.json", {"products": ROWS, "customers": [{"name": "x"}]})
    with pytest.raises(UsageError, match="products, customers.*prepare.table.rows=products"):
        read(path)
    assert captions(path, table=TableFile(rows="products")) == CAPTIONS
    with pytest.raises(UsageError, match="no list of objects at 'goods'"):
        read(path, table=TableFile(rows="goods"))


def test_a_broken_line_of_a_json_costs_itself(tmp_path):
    lines = LINES.splitlines(keepends=True)
    path = table(tmp_path, "products.json", "".join([*lines[:2], '{"image": "a.jp\n', *lines[2:]]))
    samples, rejected = read(path)
    assert [s.captions[0] for s in samples] == CAPTIONS
    assert len(rejected) == 1 and "not JSON" in rejected[0].reason.text


@pytest.mark.parametrize("name", ["c.jsonl", "c.json", "lines.json"])
def test_nan_and_infinity_are_nothing_and_counted(tmp_path, name):
    price = ["NaN", "1.5", "Infinity", "-Infinity", "2"]
    rows = [f'{{"image": "a.jpg", "caption": "x", "price": {word}}}' for word in price]
    text = f"[{', '.join(rows)}]" if name == "c.json" else "\n".join(rows)
    reader = readers.choose(table(tmp_path, name, text), Prepare())
    prices = [sample.attributes["price"] for sample in reader]
    assert prices == [None, 1.5, None, None, 2]
    assert reader.notes == {"values that are NaN or Infinity, read as empty": 3}


def test_coco_is_one_row_an_image(tmp_path):
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 9} for n in range(3)]
    notes = [{"image_id": n, "caption": f"{n} seen {k}"} for k in range(2) for n in (0, 1, 7)]
    coco = {"info": {}, "licenses": [{"id": 1}], "images": images, "annotations": notes}
    path = table(tmp_path, "captions_val2017.json", coco)
    *rows, lost = rows_of(path)
    assert rows == [
        {"image": "0.jpg", "caption": ["0 seen 0", "0 seen 1"], "id": 0},
        {"image": "1.jpg", "caption": ["1 seen 0", "1 seen 1"], "id": 1},
        {"image": "2.jpg", "caption": [], "id": 2},
    ]
    assert isinstance(lost, Reason) and "not listed" in lost.text


def test_coco_without_captions_is_refused(tmp_path):
    boxes = [{"image_id": 0, "bbox": [0, 0, 1, 1], "category_id": 3}]
    coco = {"annotations": boxes, "images": [{"id": 0, "file_name": "a.jpg"}], "categories": []}
    with pytest.raises(UsageError, match="holds no captions"):
        rows_of(table(tmp_path, "instances.json", coco))


def test_karpathys_splits_are_rows(tmp_path):
    parts = ("train", "restval", "val", "test")
    images = [
        {
            "filename": f"{n}.jpg",
            "filepath": "val2014",
            "cocoid": 40 + n,
            "split": split,
            "sentids": [n],
            "sentences": [{"raw": f"one {n}", "tokens": ["one"]}, {"raw": f"two {n}"}],
        }
        for n, split in enumerate(parts)
    ]
    rows = rows_of(table(tmp_path, "dataset_coco.json", {"images": images, "dataset": "coco"}))
    assert [row["split"] for row in rows] == ["train", "train", "val", "test"]
    assert rows[2] == {
        "image": "val2014/2.jpg",
        "caption": ["one 2", "two 2"],
        "id": 42,
        "split": "val",
    }


@pytest.mark.parametrize(
    "turns",
    [
        {
            "conversations": [
                {"from": "human", "value": "<image>\nDescribe."},
                {"from": "gpt", "value": "a red dress"},
            ]
        },
        {
            "messages": [
                {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]},
                {"role": "assistant", "content": [{"type": "text", "text": "a red dress"}]},
            ]
        },
        {"messages": [{"role": "assistant", "content": "a red dress"}]},
    ],
)
@pytest.mark.parametrize("name", ["data.json", "data.jsonl"])
def test_the_answer_of_a_conversation_is_the_caption(tmp_path, turns, name):
    rows = [{"id": "1", "image": "a.jpg"} | turns]
    data = rows if name == "data.json" else json.dumps(rows[0])
    assert rows_of(table(tmp_path, name, data)) == [
        {"id": "1", "image": "a.jpg", "caption": "a red dress"}
    ]


def test_of_several_answers_the_first_is_taken_and_counted(tmp_path):
    turns = [{"from": "gpt", "value": f"answer {n}"} for n in range(3)]
    reader = readers.choose(
        table(tmp_path, "data.json", [{"image": "a.jpg", "conversations": turns}]), Prepare()
    )
    assert [sample.captions for sample in reader] == [("answer 0",)]
    assert sum(reader.notes.values()) == 1


def test_an_object_by_image_has_paths_without_endings(tmp_path):
    table(tmp_path, "metadata.json", {"a": {"caption": "x", "tags": "s, t", "regions": [{"w": 1}]}})
    (sample,), _ = read(tmp_path)
    assert sample.captions == ("x",) and sample.image.name == "a.jpg"


# ---------------------------------------------------------------- packed files and texts


@pytest.mark.parametrize(
    ("name", "text"), [("catalog.csv.gz", CSV), ("c.jsonl.gz", LINES), ("c.json.gz", LINES)]
)
def test_packed_tables_are_read(tmp_path, name, text):
    table(tmp_path, name, gzip.compress(text.encode()))
    assert captions(tmp_path) == CAPTIONS
    assert readers.choose(tmp_path, Prepare()).describe()[0].startswith(f"{name}: ")


def test_a_packed_table_that_grows_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("unidiff_cli.data.readers.rows.text_stream.GROWTH", 1 << 20)
    path = table(tmp_path, "c.csv.gz", gzip.compress(CSV.encode() + b"a.jpg," * 10**6))
    with pytest.raises(WorkError, match="prepare.limits.inflation"):
        read(path, limits=Limits(inflation=1))


@pytest.mark.parametrize(
    "data", [b"no gzip", gzip.compress(CSV.encode() * 99)[:-30]], ids=["no gzip", "cut"]
)
def test_a_damaged_packed_table_is_named(tmp_path, data):
    with pytest.raises(WorkError, match="c.csv.gz"):
        list(readers.choose(table(tmp_path, "c.csv.gz", data), Prepare()))


@pytest.mark.parametrize("name", ["captions.txt", "Flickr8k.txt"])
def test_a_text_that_is_a_table_of_images_is_one(tmp_path, name):
    table(tmp_path, name, CSV)
    assert captions(tmp_path) == CAPTIONS


@pytest.mark.parametrize(
    "text", ["red dress, image of a hat\n", "image,caption\nno file,x\n", "readme\n" * 9, ""]
)
def test_another_text_is_no_table(tmp_path, text):
    path = put(tmp_path / "a.txt")
    path.write_text(text)
    assert not formats.is_table(LocalPath(path), Prepare())


# ---------------------------------------------------------------- Excel


def workbook(path: Path, **sheets) -> Path:
    """An Excel file of lists of rows."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


EXCEL = [["image", "caption", "sku", "price", "since", None, "note"]]
EXCEL += [
    ["a.jpg", caption, 10_000_000.0, 1.5, datetime.datetime(2026, 1, 2), None, "#N/A"]
    for caption in CAPTIONS
]


def test_an_excel_file_is_a_table(tmp_path):
    table(tmp_path, "x", CSV)
    workbook(tmp_path / "catalog.xlsx", Products=[[], *EXCEL, [], EXCEL[0]], Empty=[], Note=[["x"]])
    samples, rejected = read(tmp_path)
    assert [s.captions[0] for s in samples] == CAPTIONS and not rejected
    assert samples[0].row == "catalog.xlsx:3" and samples[0].id == "10000000"
    values = {"sku": 10_000_000, "price": 1.5, "since": "2026-01-02", "note": None}
    assert samples[0].attributes == values


def test_several_sheets_are_asked_for_by_name(tmp_path):
    put(tmp_path / "a.jpg")
    path = workbook(tmp_path / "c.xlsx", Shoes=EXCEL, Hats=EXCEL[:3])
    with pytest.raises(UsageError, match="Shoes, Hats.*prepare.table.sheet=Shoes"):
        read(path)
    assert captions(path, table=TableFile(sheet="Hats")) == CAPTIONS[:2]
    with pytest.raises(UsageError, match="no sheet 'Bags'"):
        read(path, table=TableFile(sheet="Bags"))


def test_a_hidden_sheet_is_read_by_name_only(tmp_path):
    put(tmp_path / "a.jpg")
    path = workbook(tmp_path / "c.xlsx", Shoes=EXCEL, Hats=EXCEL[:3])
    book = openpyxl.load_workbook(path)
    book["Shoes"].sheet_state = "hidden"
    book.save(path)
    assert captions(path) == CAPTIONS[:2]
    assert captions(path, table=TableFile(sheet="Shoes")) == CAPTIONS


def zipped(path: Path, **parts: str) -> Path:
    put(path.parent / "a.jpg")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package:
        for name, text in parts.items():
            package.writestr(f"xl/{name}.xml", text)
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<workbook/>", "not readable as Excel"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><workbook/>', "document type"),
        ("<x>" + " " * (5 << 20), "grows to more than"),
    ],
)
def test_a_hostile_or_damaged_excel_file_is_named(tmp_path, monkeypatch, text, words):
    monkeypatch.setattr("unidiff_cli.data.readers.rows.excel.GROWTH", 1 << 20)
    path = zipped(tmp_path / "catalog.xlsx", workbook=text)
    with pytest.raises(WorkError, match=words):
        read(path)


def test_a_missing_openpyxl_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    with pytest.raises(EnvironmentProblem, match=r"pip install 'unidiff-cli\[excel\]'"):
        read(zipped(tmp_path / "catalog.xlsx"))


# ---------------------------------------------------------------- feeds

GOOGLE = 'xmlns:g="http://base.google.com/ns/1.0"'
ITEM = """<{item}><g:id>TV_{n}</g:id><title>old</title><g:title>red &amp; blue dress {n}</g:title>
<description><![CDATA[<b>soft</b>]]></description>{link}<g:image_link>a.jpg</g:image_link>
<g:additional_image_link>b.jpg</g:additional_image_link>
<g:additional_image_link>c.jpg</g:additional_image_link>
<g:shipping><g:country>DE</g:country><g:price>5 EUR</g:price></g:shipping></{item}>"""


def feed(kind: str) -> str:
    item, link = ("item", "<link>https://x.example/1</link>")
    begin, end = f'<rss version="2.0" {GOOGLE}><channel><title>Shop</title>', "</channel></rss>"
    if kind == "atom":
        item, link = "entry", '<link href="https://x.example/1"/>'
        begin = f'<feed xmlns="http://www.w3.org/2005/Atom" {GOOGLE}><title>Shop</title>'
        end = "</feed>"
    items = "".join(ITEM.format(item=item, n=n, link=link) for n in range(3))
    return f'<?xml version="1.0"?>{begin}{items}{end}'


@pytest.mark.parametrize("kind", ["rss", "atom"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_google_feed_is_a_table(tmp_path, kind, packed):
    data = feed(kind).encode()
    path = table(tmp_path, "feed.xml.gz", gzip.compress(data)) if packed else None
    path = path or table(tmp_path, "feed.xml", data)
    rows = rows_of(path)
    assert len(rows) == 3 and rows[1] == {
        "id": "TV_1",
        "title": "red & blue dress 1",
        "description": "<b>soft</b>",
        "link": "https://x.example/1",
        "image_link": "a.jpg",
        "additional_image_link": ["b.jpg", "c.jpg"],
        "shipping": {"country": "DE", "price": "5 EUR"},
    }
    assert formats.is_table(LocalPath(path), Prepare())


def test_other_feeds_are_tables(tmp_path):
    offers = "".join(
        f'<offer id="{n}" available="true"><name>red dress {n}</name>'
        '<picture>a.jpg</picture><param name="x">1</param></offer>'
        for n in range(3)
    )
    text = f"<yml_catalog><shop><name>S</name><offers>{offers}</offers></shop></yml_catalog>"
    data = ('<?xml version="1.0" encoding="windows-1251"?>' + text.replace("red", "алое")).encode(
        "cp1251"
    )
    path = table(tmp_path, "yml.xml", data)
    assert [row["name"] for row in rows_of(path)] == [f"алое dress {n}" for n in range(3)]
    assert rows_of(path)[0]["available"] == "true"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('<!DOCTYPE x [<!ENTITY a "b"><!ENTITY c "&a;&a;">]><rss><item/></rss>', "document type"),
        (
            '<!DOCTYPE x SYSTEM "a.dtd" [<!ATTLIST a b CDATA "">]><rss><item/></rss>',
            "document type",
        ),
        ("<rss><item><title>R & B</title></item></rss>", "&amp;"),
        ("<rss><item><title>x</title>", "not readable as XML"),
        ("<item>" * 99, "deep"),
    ],
)
def test_a_hostile_or_broken_feed_is_named(tmp_path, text, words):
    with pytest.raises(WorkError, match=words):
        rows_of(table(tmp_path, "feed.xml", text))


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE yml_catalog SYSTEM "shops.dtd">',
        '<!DOCTYPE x SYSTEM "file:///etc/passwd">',
        '<!DOCTYPE rss PUBLIC "-//Netscape//DTD RSS 0.91//EN" "http://127.0.0.1:1/rss.dtd">',
        "<!DOCTYPE rss>",
    ],
)
def test_a_document_type_that_declares_nothing_is_passed_over(tmp_path, doctype):
    (tmp_path / "shops.dtd").write_text('<!ENTITY nbsp "from a file"><!ENTITY x "from a file">')
    has_file = "SYSTEM" in doctype or "PUBLIC" in doctype
    title = "red&nbsp;&x; dress" if has_file else "red dress"
    text = f"{doctype}<rss><item><title>{title}</title></item></rss>"
    (row,) = rows_of(table(tmp_path, "feed.xml", text))
    assert row == {"title": "red\xa0&x; dress" if has_file else "red dress"}


def test_a_product_that_is_too_long_costs_itself(tmp_path):
    items = ["<title>x</title>", f"<title>{'x' * 5000}</title>", "<title>y</title>"]
    text = "<rss>" + "".join(f"<item>{item}</item>" for item in items) + "</rss>"
    first, long, last = rows_of(table(tmp_path, "feed.xml", text), limits=Limits(row=1000))
    assert (first, last) == ({"title": "x"}, {"title": "y"}) and "limits.row" in long.text


def test_an_annotation_in_xml_is_no_table(tmp_path):
    path = put(tmp_path / "a.xml", "<annotation><object><name>dress</name></object></annotation>")
    assert not formats.is_table(LocalPath(path), Prepare())


# ---------------------------------------------------------------- parquet of Hugging Face


CLASSES = {"label": {"names": ["oak", "ash", "elm"], "_type": "ClassLabel"}}


@pytest.mark.parametrize(
    "notes, names",
    [
        (json.dumps({"info": {"features": CLASSES}}), ["oak", "ash", "elm", "oak"]),
        ("no JSON", [0, 1, 2, 0]),
        ("[]", [0, 1, 2, 0]),
        (json.dumps({"info": {"features": {"label": {"_type": "ClassLabel"}}}}), [0, 1, 2, 0]),
    ],
)
def test_numbers_of_classes_have_the_names_that_the_file_gives(tmp_path, notes, names):
    rows = pyarrow.table({"image": [f"{n}.jpg" for n in range(4)], "label": [0, 1, 2, 0]})
    path = tmp_path / "t.parquet"
    pyarrow.parquet.write_table(rows.replace_schema_metadata({"huggingface": notes}), path)
    assert [row["label"] for row in rows_of(path)] == names
