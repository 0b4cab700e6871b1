"""Tables: what is understood of their columns, and that no row is lost or trusted too far."""

import csv
import json
from collections import Counter
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.catalogue import jpeg, put
from tests.support.reading import read
from unidiff_cli.config.prepare import Columns, Prepare
from unidiff_cli.data import readers
from unidiff_cli.data.locations import LocalPath
from unidiff_cli.data.readers.rows import formats
from unidiff_cli.data.readers.rows.cells import is_missing
from unidiff_cli.data.readers.table import Table
from unidiff_cli.data.sample import Cause, Reason
from unidiff_cli.errors import UsageError, WorkError


def table(folder: Path, text: str | bytes, images="ab", name="catalog.csv") -> Path:
    """A table beside images of one letter each."""
    for letter in images:
        put(folder / f"{letter}.jpg")
    return put(folder / name, text)


def first_captions(samples) -> list[str]:
    return [sample.captions[0] for sample in samples]


# ---------------------------------------------------------------- CSV

GERMAN = "sku;Title;Farbe;Filename;parent_sku\n1;Dress;red;a.jpg;P\n2;Hat;blue;b.jpg;Q\n"


def test_csv_is_sniffed(tmp_path):
    samples, _ = read(table(tmp_path, GERMAN), caption="{Title} in {Farbe}")
    assert [s.captions for s in samples] == [("Dress in red",), ("Hat in blue",)]
    assert (samples[0].id, samples[0].product, samples[0].row) == ("1", "P", "catalog.csv:2")
    columns = {"sku": "1", "Title": "Dress", "Farbe": "red", "parent_sku": "P"}
    assert samples[0].attributes == columns


def test_csv_is_described(tmp_path):
    options = Prepare(caption="{Title} in {Farbe}")
    description = "\n".join(readers.choose(table(tmp_path, GERMAN), options).describe())
    for words in ("semicolon", "image = Filename", "catalog.csv:2: Dress in red"):
        assert words in description


@pytest.mark.parametrize("sep", [",", ";", "\t", "|"])
@pytest.mark.parametrize("line", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_separators_line_ends_and_encodings(tmp_path, sep, line, encoding):
    rows = [["image", "caption"], ["a.jpg", f'"a{sep} b\n""c"""'], ["b.jpg", "é"], []]
    path = table(tmp_path, line.join(sep.join(row) for row in rows).encode(encoding))
    samples, rejected = read(path)
    quoted = f'a{sep} b "c"'.replace("\t", " ").replace("  ", " ")
    assert not rejected and [s.captions for s in samples] == [(quoted,), ("é",)]


def test_lines_of_another_encoding_are_read_and_counted(tmp_path):
    lines = ["image,caption\n", "a.jpg,robe légère\n", "b.jpg,été\n"]
    text = "".join(lines).encode() + "a.jpg,caf\xe9\n".encode("cp1252")
    reader = readers.choose(table(tmp_path, text), Prepare())
    assert first_captions(reader) == ["robe légère", "été", "café"]
    assert reader.notes == {"cells that are not UTF-8, read as cp1252": 1}


BROKEN = (
    "image,caption,product\n"
    "a.jpg,fine,1\n"
    'b.jpg,"never closed,2\n'
    "c.jpg,after it,3\n"
    'd.jpg,"two\nlines",4\n'
    "e.jpg,too,many,cells\n"
    "f.jpg,nul\0,5\n"
    'g.jpg,"24" monitor",6\n'
    "\n"
    "h.jpg\n"
    ",no image,7\n"
    "i.jpg,last,8"
)


def test_broken_lines_cost_themselves_only(tmp_path):
    samples, rejected = read(table(tmp_path, BROKEN, "abcdefghi"))
    assert first_captions(samples) == ["fine", "after it", "two lines", "last"]
    assert [item.row.split(":")[1] for item in rejected] == ["3", "7", "8", "9", "11", "12"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("3", "never closed"),
        ("7", "4 cells"),
        ("8", "NUL byte"),
        ("9", "not readable as CSV"),
        ("11", "'caption' is empty"),
        ("12", "'image' is empty"),
    ],
)
def test_a_broken_line_says_why(tmp_path, line, words):
    reasons = {i.row.split(":")[1]: i.reason.text for i in read(table(tmp_path, BROKEN, "h"))[1]}
    assert words in reasons[line]


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


ROW = st.lists(CELL, min_size=3, max_size=3).filter(lambda cells: any(map(str.strip, cells)))


@given(st.lists(ROW, min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_csv_rows_survive_as_written(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    with open(path, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, quoting=csv.QUOTE_ALL).writerows([["x y", "y z", "z"], *rows])
    found = [list(cells.values()) for _, cells in formats.read(LocalPath(path), Prepare())]
    assert found == [
        [None if cell.strip() and is_missing(cell) else cell for cell in row] for row in rows
    ]


ENDINGS = [".csv", ".tsv", ".jsonl", ".json", ".xml", ".xlsx", ".txt", ".csv.gz"]


@given(st.binary(max_size=400), st.sampled_from(ENDINGS))
@settings(max_examples=150, deadline=None)
def test_no_bytes_crash_a_table(tmp_path_factory, data, suffix):
    path = tmp_path_factory.mktemp("t") / f"t{suffix}"
    path.write_bytes(data)
    try:
        for number, cells in formats.read(LocalPath(path), Prepare()):
            assert isinstance(number, int) and isinstance(cells, dict | Reason)
    except (UsageError, WorkError):
        pass


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a.jpg,a red dress\nb.jpg,a hat\n", "not a header"),
        ("name,price\nx,1\n", "no column that names images.*name, price.*prepare.columns.image"),
    ],
)
def test_headers_that_cannot_be_right(tmp_path, text, words):
    with pytest.raises(UsageError, match=words):
        read(table(tmp_path, text))


# ---------------------------------------------------------------- JSON and parquet


def test_json_lines_are_strict_and_numbered(tmp_path):
    lines = [
        b'{"image": "a.jpg", "caption": "a"}',
        b"",
        b'{"image": "a.jpg", "caption": NaN}',
        b"[1]",
        b"{",
        b'{"image": "a.jpg"}',
        b"[" * 100_000,
        b'{"image": "\xff"}',
        b'{"image": "b.jpg", "caption": "\\ud800 b", "n": 1e400}',
    ]
    path = table(tmp_path, b"\n".join(lines) + b"\n", name="c.jsonl")
    samples, rejected = read(path, encoding="utf-8")
    rows = [(s.row, s.captions) for s in samples]
    assert rows == [("c.jsonl:1", ("a",)), ("c.jsonl:9", ("\ufffd b",))]
    assert samples[1].attributes == {"n": None}
    reasons = {item.row: item.reason for item in rejected}
    assert list(reasons) == [f"c.jsonl:{n}" for n in (3, 4, 5, 6, 7, 8)]
    assert "a JSON list" in reasons["c.jsonl:4"].text and "utf-8" in reasons["c.jsonl:8"].text
    assert reasons["c.jsonl:3"].cause is Cause.NO_CAPTION
    assert reasons["c.jsonl:5"].cause is Cause.NOT_JSON


def test_a_json_list_is_a_table(tmp_path):
    text = '[{"image": "a.jpg", "caption": ["one", "two", "one"]}, 3]'
    table(tmp_path, text, name="metadata.json")
    samples, rejected = read(tmp_path)
    assert samples[0].captions == ("one", "two") and len(rejected) == 1


def test_a_mapping_of_file_names_is_a_table(tmp_path):
    table(tmp_path, '{"a.jpg": {"caption": "x"}, "b.jpg": "y"}', name="metadata.json")
    assert first_captions(read(tmp_path)[0]) == ["x", "y"]


def test_broken_json_is_named(tmp_path):
    table(tmp_path, "{", name="metadata.json")
    with pytest.raises(WorkError, match="is not JSON"):
        read(tmp_path)


def test_parquet_with_images_inside(tmp_path):
    cells = [{"bytes": jpeg(), "path": "a.jpg"}] * 2
    columns = {"image": cells, "text": ["a", "b"], "price": [1.5, float("nan")]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "train.parquet")
    samples, rejected = read(tmp_path)
    assert [s.image.read() for s in samples] == [jpeg()] * 2 and not rejected
    assert [s.attributes for s in samples] == [{"price": 1.5}, {"price": None}]
    assert readers.choose(tmp_path, Prepare()).extent().rows == 2


def test_a_pass_for_splits_reads_no_images_and_no_objects(tmp_path, monkeypatch):
    row = {"image": {"bytes": jpeg(), "path": "a.jpg"}, "image_mask": {"bytes": jpeg()}}
    row |= {"raw": b"x", "box": {"w": 1}, "thumbs": [b"x"], "shop": "A"}
    rows = [{**row, "text": f"red dress {n}"} for n in range(4)]
    path = tmp_path / "train.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    reader = Table(LocalPath(path), Prepare(where={"shop": "A"}))
    passes = []
    monkeypatch.setattr(formats, "read", lambda *args, names: passes.append(names) or iter(()))
    assert "image_mask" in reader.columns.images.left_out
    reader.extent()
    assert passes == [["shop"]]


def test_damaged_parquet_is_named(tmp_path):
    put(tmp_path / "train.parquet", b"PAR1 damaged")
    with pytest.raises(WorkError, match="not readable as parquet"):
        read(tmp_path)


# ---------------------------------------------------------------- columns


@pytest.fixture
def without_captions(tmp_path) -> Path:
    return table(tmp_path, "image,sku,colour\na.jpg,1,red\n")


def test_a_missing_caption_column_names_the_columns_and_the_way_out(without_captions):
    with pytest.raises(UsageError) as error:
        read(without_captions)
    assert error.value.exit_code == 2 and "no caption column" in error.value.fact
    for words in ("image, sku, colour", "--set prepare.columns.caption=COLUMN"):
        assert words in error.value.action


def test_a_mapped_column_is_taken(without_captions):
    samples, _ = read(without_captions, columns=Columns(caption="colour"))
    assert samples[0].captions == ("red",)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"columns": Columns(caption="color")}, "no such column. Did you mean 'colour'"),
        (
            {"columns": Columns(caption="colour"), "where": {"view": "main"}},
            "prepare.where is 'view'",
        ),
        ({"caption": "{colour} {shape}"}, "prepare.caption is 'shape'"),
    ],
)
def test_a_column_that_is_not_there_is_named(without_captions, options, words):
    with pytest.raises(UsageError, match=words):
        read(without_captions, **options)


@pytest.mark.parametrize("name", ["picture", "Picture", "photo", "img_path", "File Name"])
def test_usual_names_of_an_image_column(tmp_path, name):
    reader = readers.choose(table(tmp_path, f"{name},caption\na.jpg,x\n"), Prepare())
    assert reader.columns.roles["image"] == name and len(list(reader)) == 1


def test_paths_that_lead_out_are_rejected(tmp_path):
    put(tmp_path / "secret.jpg")
    names = [
        "a.jpg",
        "../secret.jpg",
        "x/../../secret.jpg",
        "/etc/passwd",
        "C:\\x.jpg",
        "https://x.org/a.jpg",
        "\\\\srv\\a.jpg",
        "data:image/png;base64,AA",
        "x/../a.jpg",
        "./a.jpg",
    ]
    rows = "".join(json.dumps({"image": n, "caption": "c"}) + "\n" for n in names)
    samples, rejected = read(table(tmp_path / "shop", rows, "a", "c.jsonl"))
    assert [s.row for s in samples] == ["c.jsonl:1", "c.jsonl:9", "c.jsonl:10"]
    assert Counter(item.reason.text.split(":")[0] for item in rejected) == {
        "a path that leads out of the catalogue's folder": 2,
        "an absolute path": 3,
        "a web address": 1,
        "an image written into the cell, which is not read": 1,
    }


def test_images_without_ending_in_a_subfolder(tmp_path):
    numbers = (15970, 39386, 59263)
    for n in numbers:
        put(tmp_path / "images" / f"{n}.jpg")
    rows = "15970,Men,Shirt\n39386,Men,Jeans\n59263,Women,Watch\n"
    put(tmp_path / "styles.csv", "id,gender,productDisplayName\n" + rows)
    reader = readers.choose(tmp_path, Prepare())
    samples = list(reader)
    assert [s.image.name for s in samples] == [f"{n}.jpg" for n in numbers]
    assert samples[0].captions == ("Shirt",) and "images/<id>.jpg" in "\n".join(reader.describe())


def test_unicode_twins_and_windows_slashes_are_found(tmp_path):
    put(tmp_path / "images" / "e\u0301.jpg")
    rows = "image,caption\nimages/é.jpg,x\nimages\\é.jpg,y\n"
    samples, _ = read(put(tmp_path / "c.csv", rows))
    assert len(samples) == 2 and all(s.image.is_file() for s in samples)


@pytest.fixture
def viewed(tmp_path) -> Path:
    """Twelve rows with a view, four spellings of a split, and products of three."""
    splits = ("Training", "dev", "iconic", "")
    rows = ["image,caption,view,split,product"]
    for n in range(12):
        rows.append(f"a.jpg,c{n},{'main' if n % 2 else 'back'},{splits[n % 4]},{n // 3}")
    return table(tmp_path, "\n".join(rows))


def test_where_keeps_rows_and_counts_the_others_of_the_latest_pass(viewed):
    reader = readers.choose(viewed, Prepare(where={"view": "main"}))
    assert len(list(reader)) == 6 == reader.filtered
    list(reader)
    assert reader.filtered == 6


def test_splits_are_read_in_their_usual_spellings(viewed):
    samples, _ = read(viewed)
    assert Counter(s.split for s in samples) == {"train": 6, "val": 3, None: 3}
    assert {s.product for s in samples} == {"0", "1", "2", "3"}


def test_an_empty_mapping_says_that_there_is_no_such_column(viewed):
    samples, _ = read(viewed, columns=Columns(product="", split=""))
    assert all(s.product is None and s.split is None for s in samples)


def test_a_product_column_with_a_kind_of_goods_is_not_a_product(tmp_path):
    rows = "".join(f"a.jpg,c{n},{'dress' if n % 2 else 'hat'}\n" for n in range(100))
    samples, _ = read(table(tmp_path, "image,caption,product\n" + rows))
    assert {s.product for s in samples} == {None}


def test_the_extent_changes_with_rows_and_files_and_nothing_else(tmp_path):
    path = table(tmp_path, "image,caption\na.jpg,x\nb.jpg,y\n")
    before = readers.choose(path, Prepare()).extent()
    assert before.rows == 2 and before.bytes == 2 * len(jpeg())
    put(tmp_path / "unrelated.jpg")
    assert readers.choose(path, Prepare()).extent() == before
    put(tmp_path / "a.jpg", jpeg("blue"))
    assert readers.choose(path, Prepare()).extent() != before
