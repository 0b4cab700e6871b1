"""Readers: what is understood of folders, tables and tars, and that no row is lost or trusted too far."""

import gzip
import io
import json
import os
import tarfile
from collections import Counter
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from unidiff_cli.config.schema import Columns, Prepare
from unidiff_cli.data import captions, readers
from unidiff_cli.data.readers import _tables
from unidiff_cli.data.readers.folder import Folder
from unidiff_cli.data.readers.table import Table
from unidiff_cli.data.readers.webdataset import Webdataset, members
from unidiff_cli.data.sample import Rejected, Sample
from unidiff_cli.errors import UsageError, WorkError


def jpeg(color="red", size=(8, 8)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, color).save(stream, "JPEG")
    return stream.getvalue()


def put(path: Path, data: bytes | str = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data or jpeg())
    return path


def read(path: Path, **options) -> tuple[list[Sample], list[Rejected]]:
    items = list(readers.choose(path, Prepare(**options)))
    return [i for i in items if isinstance(i, Sample)], [
        i for i in items if isinstance(i, Rejected)
    ]


def csv_file(folder: Path, text: str | bytes, images="ab", name="catalog.csv") -> Path:
    for letter in images:
        put(folder / f"{letter}.jpg")
    return put(folder / name, text)


# ---------------------------------------------------------------- which reader


def test_a_table_wins_then_tars_then_a_folder(tmp_path):
    put(tmp_path / "a.jpg")
    assert isinstance(readers.choose(tmp_path, Prepare()), Folder)
    with tarfile.open(tmp_path / "x.tar", "w"):
        pass
    assert isinstance(readers.choose(tmp_path, Prepare()), Webdataset)
    put(tmp_path / "x.parquet", b"img2dataset writes these beside its tars")
    assert isinstance(readers.choose(tmp_path, Prepare()), Webdataset)
    put(tmp_path / "catalog.csv", "image,caption\na.jpg,red\n")
    assert isinstance(readers.choose(tmp_path, Prepare()), Table)
    assert isinstance(readers.choose(tmp_path, Prepare(reader="folder")), Folder)


def test_what_is_not_there_or_not_readable_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="no catalogue"):
        readers.choose(tmp_path / "nothing", Prepare())
    with pytest.raises(UsageError, match="nothing unidiff can read"):
        readers.choose(put(tmp_path / "a.docx", b"x"), Prepare())
    put(tmp_path / "one.csv", "image,caption\n")
    put(tmp_path / "two.csv", "image,caption\n")
    with pytest.raises(UsageError, match="several tables: one.csv, two.csv"):
        readers.choose(tmp_path, Prepare())
    with pytest.raises(UsageError, match="no reader named 'tabel'. Did you mean 'table'"):
        readers.choose(tmp_path, Prepare(reader="tabel"))


# ---------------------------------------------------------------- folder


def test_folder_classes_sidecars_and_splits(tmp_path):
    put(tmp_path / "shoes_men" / "a.jpg")
    put(tmp_path / "shoes_men" / "b.jpg")
    put(tmp_path / "shoes_men" / "b.txt", "a red shoe\n\n a shoe of&nbsp;leather \n")
    put(tmp_path / "test" / "men" / "t-shirt" / "c.PNG")
    put(tmp_path / "images" / "d.jpg")
    put(tmp_path / "e.jpg")
    put(tmp_path / "e.jpg.caption", "an e")
    put(tmp_path / "f.jpg")
    put(tmp_path / "f.txt", "  \n")
    put(tmp_path / ".hidden" / "g.jpg")
    put(tmp_path / "_notes.md", "no image")
    put(tmp_path / "shoes_men" / "h.heic", b"x")
    good, bad = read(tmp_path)
    found = {s.row: s for s in good}
    assert found["shoes_men/a.jpg"].captions == ("a photo of shoes men",)
    assert found["shoes_men/a.jpg"].attributes == {"class": "shoes_men"}
    assert found["shoes_men/b.jpg"].captions == ("a red shoe", "a shoe of leather")
    assert found["test/men/t-shirt/c.PNG"].split == "test"
    assert found["test/men/t-shirt/c.PNG"].attributes == {
        "split": "test",
        "class": "t-shirt",
        "folder": "men/t-shirt",
    }
    assert found["e.jpg"].captions == ("an e",)
    assert "shoes_men/h.heic" in found  # accounted for: decoding says what is wrong with it
    assert {b.row for b in bad} == {"images/d.jpg", "f.jpg"} and all(
        "no caption" in b.reason for b in bad
    )
    assert len(good) + len(bad) == 7
    assert [s.row for s in read(tmp_path, where={"class": "t-shirt"})[0]] == [
        "test/men/t-shirt/c.PNG"
    ]
    with pytest.raises(UsageError, match="prepare.where"):
        read(tmp_path, where={"colour": "red"})


def test_a_project_inside_the_catalogue_is_left_out(tmp_path):
    put(tmp_path / "shirts" / "a.jpg")
    put(tmp_path / "unidiff-project" / "unidiff.yaml", "recipe: fashion")
    put(tmp_path / "unidiff-project" / "outputs" / "b.jpg")
    assert [s.row for s in read(tmp_path)[0]] == ["shirts/a.jpg"]
    put(tmp_path / "unidiff.yaml", "recipe: fashion")
    put(tmp_path / "outputs" / "c.jpg")
    assert [s.row for s in read(tmp_path)[0]] == ["shirts/a.jpg"]


def test_links_that_lead_back_up_end(tmp_path):
    put(tmp_path / "shirts" / "a.jpg")
    (tmp_path / "shirts" / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert len(read(tmp_path)[0]) == 1


NAMES = [
    "-rf.jpg",
    "👗 dress.jpg",
    "new\nline.jpg",
    "a.b.jpg",
    "é.jpg",
    "e\u0301.jpg",
    "\u202egnp.jpg",
    "x" * 250 + ".jpg",
    "A.jpg",
    "a.jpg",
    " .jpg",
]


def test_names_of_every_kind_round_trip(tmp_path):
    for name in NAMES:
        put(tmp_path / "class" / name)
    put(Path(os.fsdecode(os.fsencode(tmp_path) + b"/class/\xff.jpg")))
    good, bad = read(tmp_path)
    assert not bad and len(good) == len(NAMES) + 1
    assert {s.row for s in good} == {f"class/{n}" for n in NAMES} | {"class/\\xff.jpg"}
    assert all(s.image.is_file() for s in good)
    rows = "\n".join(json.dumps({"image": f"class/{n}", "caption": "x"}) for n in NAMES)
    good, bad = read(put(tmp_path / "captions.jsonl", rows))
    assert not bad and all(s.image.is_file() for s in good)


# ---------------------------------------------------------------- CSV


def test_csv_is_sniffed_and_described(tmp_path):
    path = csv_file(
        tmp_path, "sku;Title;Farbe;Filename;parent_sku\n1;Dress;red;a.jpg;P\n2;Hat;blue;b.jpg;Q\n"
    )
    reader = readers.choose(path, Prepare(caption="{Title} in {Farbe}"))
    good = list(reader)
    assert [s.captions for s in good] == [("Dress in red",), ("Hat in blue",)]
    assert (good[0].id, good[0].product, good[0].row) == ("1", "P", "catalog.csv:2")
    assert good[0].attributes == {"sku": "1", "Title": "Dress", "Farbe": "red", "parent_sku": "P"}
    said = reader.describe()
    assert (
        "semicolon" in said and "image = Filename" in said and "catalog.csv:2: Dress in red" in said
    )


@pytest.mark.parametrize("sep", [",", ";", "\t", "|"])
@pytest.mark.parametrize("line", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_separators_line_ends_and_encodings(tmp_path, sep, line, encoding):
    rows = [["image", "caption"], ["a.jpg", f'"a{sep} b\n""c"""'], ["b.jpg", "é"], []]
    path = csv_file(tmp_path, line.join(sep.join(r) for r in rows).encode(encoding))
    good, bad = read(path)
    assert not bad and [s.captions for s in good] == [
        (f'a{sep} b "c"'.replace("\t", " ").replace("  ", " "),),
        ("é",),
    ]


def test_old_encodings_are_read_and_counted(tmp_path):
    path = csv_file(tmp_path, "image,caption\na.jpg,caf\xe9\nb.jpg,plain\n".encode("cp1252"))
    reader = readers.choose(path, Prepare())
    assert [s.captions[0] for s in reader] == ["café", "plain"]
    assert reader.notes == {"cells that are not UTF-8, read as cp1252": 1}


def test_broken_lines_cost_themselves_only(tmp_path):
    text = (
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
    good, bad = read(csv_file(tmp_path, text, "abcdefghi"))
    assert [s.captions[0] for s in good] == ["fine", "after it", "two lines", "last"]
    assert [b.row.split(":")[1] for b in bad] == ["3", "7", "8", "9", "11", "12"]
    reasons = " | ".join(b.reason for b in bad)
    for said in (
        "never closed",
        "4 cells",
        "NUL byte",
        "not readable as CSV",
        "'caption' is empty",
        "'image' is empty",
    ):
        assert said in reasons


@given(
    st.lists(
        st.lists(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
            min_size=3,
            max_size=3,
        ),
        max_size=8,
    )
)
@settings(max_examples=60, deadline=None)
def test_csv_rows_survive_as_written(tmp_path_factory, rows):
    import csv

    path = tmp_path_factory.mktemp("csv") / "t.csv"
    with open(path, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, quoting=csv.QUOTE_ALL).writerows([["x y", "y z", "z"], *rows])
    assert [list(cells.values()) for _, cells in _tables.read(path)] == rows


@given(st.binary(max_size=400), st.sampled_from([".csv", ".tsv", ".jsonl", ".json"]))
@settings(max_examples=150, deadline=None)
def test_no_bytes_crash_a_table(tmp_path_factory, data, suffix):
    path = tmp_path_factory.mktemp("t") / f"t{suffix}"
    path.write_bytes(data)
    try:
        for number, cells in _tables.read(path):
            assert isinstance(number, int) and isinstance(cells, dict | str)
    except (UsageError, WorkError):
        pass


def test_headers_that_cannot_be_right(tmp_path):
    with pytest.raises(UsageError, match="not a header"):
        read(csv_file(tmp_path, "a.jpg,a red dress\nb.jpg,a hat\n"))
    with pytest.raises(UsageError, match="'caption' twice"):
        read(csv_file(tmp_path, "image,caption,caption\na.jpg,x,y\n"))
    with pytest.raises(
        UsageError, match="no column that names images.*name, price.*prepare.columns.image"
    ):
        read(csv_file(tmp_path, "name,price\nx,1\n"))


def test_a_missing_caption_column_names_the_columns_and_the_way_out(tmp_path):
    path = csv_file(tmp_path, "image,sku,colour\na.jpg,1,red\n")
    with pytest.raises(UsageError) as error:
        read(path)
    assert error.value.exit_code == 2
    assert "no caption column" in error.value.fact
    assert (
        "image, sku, colour" in error.value.action
        and "--set prepare.columns.caption=COLUMN" in error.value.action
    )
    assert read(path, columns=Columns(caption="colour"))[0][0].captions == ("red",)
    with pytest.raises(UsageError, match="no such column. Did you mean 'colour'"):
        read(path, columns=Columns(caption="color"))
    with pytest.raises(UsageError, match="prepare.where is 'view'"):
        read(path, columns=Columns(caption="colour"), where={"view": "main"})
    with pytest.raises(UsageError, match="prepare.caption is 'shape'"):
        read(path, caption="{colour} {shape}")


# ---------------------------------------------------------------- JSON, parquet, columns


def test_json_lines_are_strict_and_numbered(tmp_path):
    lines = [
        '{"image": "a.jpg", "caption": "a"}',
        "",
        '{"image": "a.jpg", "caption": NaN}',
        "[1]",
        "{",
        '{"image": "a.jpg"}',
        "[" * 100_000,
    ]
    path = csv_file(
        tmp_path,
        "\n".join(lines).encode()
        + b'\n{"image": "\xff"}\n{"image": "b.jpg", "caption": "\\ud800 b", "n": 1e400}',
        name="c.jsonl",
    )
    good, bad = read(path)
    assert [(s.row, s.captions) for s in good] == [
        ("c.jsonl:1", ("a",)),
        ("c.jsonl:9", ("\ufffd b",)),
    ]
    assert good[1].attributes == {"n": None}
    assert [b.row for b in bad] == [f"c.jsonl:{n}" for n in (3, 4, 5, 6, 7, 8)]
    assert ["NaN" in bad[0].reason, "a JSON list" in bad[1].reason, "UTF-8" in bad[5].reason] == [
        True
    ] * 3


def test_json_lists_and_kohya_mappings(tmp_path):
    csv_file(
        tmp_path, '[{"image": "a.jpg", "caption": ["one", "two", "one"]}, 3]', name="metadata.json"
    )
    good, bad = read(tmp_path)
    assert good[0].captions == ("one", "two") and len(bad) == 1
    put(tmp_path / "metadata.json", '{"a.jpg": {"caption": "x"}, "b.jpg": "y"}')
    assert [s.captions[0] for s in read(tmp_path)[0]] == ["x", "y"]
    put(tmp_path / "metadata.json", "{")
    with pytest.raises(WorkError, match="is not JSON"):
        read(tmp_path)


def test_parquet_with_images_inside(tmp_path):
    table = pyarrow.table(
        {
            "image": [{"bytes": jpeg(), "path": "a.jpg"}] * 2,
            "text": ["a", "b"],
            "price": [1.5, float("nan")],
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "train.parquet")
    good, bad = read(tmp_path)
    assert [s.image for s in good] == [jpeg()] * 2 and not bad
    assert [s.attributes for s in good] == [{"price": 1.5}, {"price": None}]
    before = readers.choose(tmp_path, Prepare()).extent()
    assert before.rows == 2
    put(tmp_path / "train.parquet", b"PAR1 damaged")
    with pytest.raises(WorkError, match="not readable as parquet"):
        read(tmp_path)


def test_paths_that_lead_out_are_bad(tmp_path):
    root = tmp_path / "shop"
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
    good, bad = read(csv_file(root, rows, "a", "c.jsonl"))
    assert [s.row for s in good] == ["c.jsonl:1", "c.jsonl:9", "c.jsonl:10"]
    said = Counter(b.reason.split(":")[0] for b in bad)
    assert said == {
        "a path that leads out of the catalogue's folder": 2,
        "an absolute path": 3,
        "a web address": 2,
    }


def test_images_without_ending_in_a_subfolder(tmp_path):
    for n in (15970, 39386, 59263):
        put(tmp_path / "images" / f"{n}.jpg")
    put(
        tmp_path / "styles.csv",
        "id,gender,productDisplayName\n15970,Men,Shirt\n39386,Men,Jeans\n59263,Women,Watch\n",
    )
    reader = readers.choose(tmp_path, Prepare())
    good = list(reader)
    assert [s.image.name for s in good] == ["15970.jpg", "39386.jpg", "59263.jpg"]
    assert good[0].captions == ("Shirt",) and "images/<id>.jpg" in reader.describe()


def test_unicode_twins_and_windows_slashes_are_found(tmp_path):
    put(tmp_path / "images" / "e\u0301.jpg")
    good, _ = read(put(tmp_path / "c.csv", "image,caption\nimages/é.jpg,x\nimages\\é.jpg,y\n"))
    assert good[0].image.is_file()


def test_where_splits_products_and_ids(tmp_path):
    rows = ["image,caption,view,split,product"]
    rows += [
        f"a.jpg,c{n},{'main' if n % 2 else 'back'},{['Training', 'dev', 'iconic', ''][n % 4]},{n // 3}"
        for n in range(12)
    ]
    reader = readers.choose(csv_file(tmp_path, "\n".join(rows)), Prepare(where={"view": "main"}))
    good = list(reader)
    assert reader.filtered == 6 and len(good) == 6
    assert Counter(s.split for s in good) == {"val": 3, None: 3}
    assert {s.product for s in good} == {"0", "1", "2", "3"}
    list(reader)
    assert reader.filtered == 6  # of the latest pass
    good = list(readers.choose(csv_file(tmp_path, "\n".join(rows)), Prepare()))
    assert Counter(s.split for s in good) == {"train": 6, "val": 3, None: 3}
    assert all(
        s.product is None and s.split is None
        for s in read(tmp_path, columns=Columns(product="", split=""))[0]
    )


def test_a_product_column_with_a_kind_of_goods_is_not_a_product(tmp_path):
    rows = "".join(f"a.jpg,c{n},{'dress' if n % 2 else 'hat'}\n" for n in range(100))
    good, _ = read(csv_file(tmp_path, "image,caption,product\n" + rows))
    assert {s.product for s in good} == {None}


@pytest.mark.parametrize(
    "raw, clean",
    [
        ("Men&#39;s  caf&eacute;\n tee", "Men's café tee"),
        ("<p>Soft <b>cotton</b></p>", "Soft cotton"),
        ("size < M > S", "size < M > S"),
        ("cafÃ© â€“ red", "café – red"),
        ("café", "café"),
        ("日本", "日本"),
    ],
)
def test_captions_are_cleaned(raw, clean):
    assert captions.clean(raw) == clean
    assert captions.clean(clean) == clean


@given(st.text())
def test_a_clean_caption_is_one_line_that_utf8_can_hold(text):
    caption = captions.clean(text)
    caption.encode()
    assert caption == caption.strip() and "\n" not in caption and "\0" not in caption


def test_the_extent_changes_with_rows_and_files_and_nothing_else(tmp_path):
    path = csv_file(tmp_path, "image,caption\na.jpg,x\nb.jpg,y\n")
    before = readers.choose(path, Prepare()).extent()
    assert before.rows == 2 and before.bytes == 2 * len(jpeg())
    put(tmp_path / "unrelated.jpg")
    assert readers.choose(path, Prepare()).extent() == before
    put(tmp_path / "a.jpg", jpeg("blue"))
    assert readers.choose(path, Prepare()).extent() != before


# ---------------------------------------------------------------- WebDataset


def tar_of(path: Path, entries, mode="w", kind=tarfile.USTAR_FORMAT) -> Path:
    with tarfile.open(path, mode, format=kind) as tar:
        for entry in entries:
            name, data = entry if isinstance(entry, tuple) else (entry.name, b"")
            info = tarfile.TarInfo(name) if isinstance(entry, tuple) else entry
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def special(name, kind, link="") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("name, mode", [("x.tar", "w"), ("x.tar.gz", "w:gz")])
def test_others_tars_are_read(tmp_path, kind, name, mode):
    long = "deep/" * 30 + "é" * 60
    entries = [
        ("0.jpg", jpeg()),
        ("0.txt", b"red"),
        ("0.json", b'{"price": 1, "split": "test"}'),
        ("1.b.png", jpeg()),
        ("1.json", b'{"caption": "blue"}'),
    ]
    if kind != tarfile.USTAR_FORMAT:
        entries += [(f"{long}.jpg", jpeg()), (f"{long}.txt", b"long")]
    good, bad = read(tar_of(tmp_path / name, entries, mode, kind))
    assert not bad
    assert [s.captions[0] for s in good] == ["red", "blue", "long"][: len(good)]
    assert (
        good[0].attributes == {"price": 1, "split": "test"}
        and good[0].split == "test"
        and good[0].image == jpeg()
    )
    assert kind == tarfile.USTAR_FORMAT or good[2].row == f"{name}:{long}"


def test_hostile_members_are_never_opened(tmp_path):
    outside = tmp_path / "outside"
    pickle = b"cos\nsystem\n(S'touch " + str(outside).encode() + b"'\ntR."
    entries = [
        ("../escape.jpg", jpeg()), ("../escape.txt", b"x"), ("/abs.jpg", jpeg()), ("/abs.txt", b"x"),
        special("link.jpg", tarfile.SYMTYPE, "/etc/passwd"), special("hard.jpg", tarfile.LNKTYPE, "../x"),
        special("pipe.jpg", tarfile.FIFOTYPE), special("disk.jpg", tarfile.BLKTYPE), special("dir", tarfile.DIRTYPE),
        ("0.jpg", jpeg()), ("0.txt", b"fine"), ("0.pyd", pickle), ("0.pkl", pickle),
        ("1.jpg", jpeg()), ("2.txt", b"no image"), ("3.jpg", jpeg()), ("3.json", b"{NaN}"),
    ]  # fmt: skip
    path = tar_of(
        tmp_path / "shop" / "x.tar" if (tmp_path / "shop").mkdir() is None else tmp_path, entries
    )
    before = sorted(tmp_path.rglob("*"))
    reader = readers.choose(path, Prepare())
    items = list(reader)
    assert [s.captions for s in items if isinstance(s, Sample)] == [("fine",)]
    assert len([b for b in items if isinstance(b, Rejected)]) == 4 + 4 + 3
    assert reader.notes["members that hold pickles or arrays, not opened"] == 2
    assert sorted(tmp_path.rglob("*")) == before and not outside.exists()


def test_damage_in_a_tar_is_said_and_the_rest_is_read(tmp_path):
    entries = [
        (f"{n}.{kind}", data) for n in range(6) for kind, data in (("jpg", jpeg()), ("txt", b"c"))
    ]
    path = tar_of(tmp_path / "x.tar", entries)
    whole = path.read_bytes()
    hole = bytearray(whole)
    with tarfile.open(path) as tar:
        header = tar.getmembers()[4].offset
    hole[header : header + 100] = b"\xff" * 100
    path.write_bytes(hole)
    good, bad = read(path)
    assert len(good) == 5 and any("damaged" in b.reason for b in bad)
    path.write_bytes(whole[: len(jpeg()) // 2 + 512])
    good, bad = read(path)
    assert not good and any("ends in the middle" in b.reason for b in bad)
    zipped = tmp_path / "y.tar.gz"
    zipped.write_bytes(gzip.compress(whole)[:-300])
    assert any("cannot be read on" in b.reason for b in read(zipped)[1])


@given(st.integers(0, 511), st.binary(min_size=1, max_size=12))
@settings(max_examples=200, deadline=None)
def test_no_header_hangs_or_crashes(tmp_path_factory, offset, noise):
    """Headers with a right checksum and wrong sizes, negative ones too (CVE-2025-8194)."""
    path = tar_of(tmp_path_factory.mktemp("t") / "x.tar", [("0.jpg", jpeg()), ("0.txt", b"c")])
    data = bytearray(path.read_bytes())
    data[offset : offset + len(noise)] = noise
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    path.write_bytes(data)
    assert len(list(members(path))) < 20
