"""What stands above a header, and separators that few programs write."""

from pathlib import Path

import openpyxl
import pytest

from tests.support.catalogue import put
from tests.support.reading import facts, read, read_all
from unidiff_cli.config.prepare import Prepare, TableFile
from unidiff_cli.data import readers
from unidiff_cli.data.readers.rows import dialect
from unidiff_cli.data.readers.rows.titles import ABOVE, titles
from unidiff_cli.errors import UsageError, WorkError

CAPTIONS = [f"red dress number {n}" for n in range(12)]
HEADER = ["Artikelnummer", "Bild", "Bezeichnung", "Preis"]
TITLE = "Produktexport vom 01.02.2026"


def rows() -> list[list[str]]:
    return [[f"A{n}", f"p{n}.jpg", caption, "1,50"] for n, caption in enumerate(CAPTIONS)]


def images(folder: Path) -> None:
    for n in range(len(CAPTIONS)):
        put(folder / f"p{n}.jpg")


def text_of(above: list[str], sep: str = ";", header=HEADER) -> str:
    return "\n".join([*above, *(sep.join(cells) for cells in [header, *rows()])]) + "\n"


# ---------------------------------------------------------------- titles


@pytest.mark.parametrize(
    "above",
    [
        [f"{TITLE};;;"],
        [TITLE],
        ["Shop: Muster GmbH, Berlin", "", "Stand: 01.02.2026"],
        ["sep=;", f"{TITLE};;;"],
        [f"{TITLE};;;", ";;;", "Stand;;;"],
        ["Artikel;;;"],
        [f'"{TITLE}\nder Firma Muster";;;'],
    ],
)
def test_titles_above_a_header_are_left_out_and_counted(tmp_path, above):
    images(tmp_path)
    put(tmp_path / "export.csv", text_of(above))
    reader, samples, rejected = read_all(tmp_path)
    assert not rejected and [s.captions[0] for s in samples] == CAPTIONS
    assert samples[0].attributes == {"Artikelnummer": "A0", "Preis": "1,50"}
    assert reader.notes[ABOVE] and "the header in line" in reader.decisions()["header"]


def test_a_title_line_is_kept_out_of_tabs_and_commas(tmp_path):
    images(tmp_path)
    put(tmp_path / "export.tsv", text_of(["Catalogue of spring"], "\t"))
    samples, rejected = read(tmp_path)
    assert not rejected and [s.captions[0] for s in samples] == CAPTIONS


@pytest.mark.parametrize(
    "above",
    [
        [["Katalog Frühjahr 2026"], []],
        [[], ["Katalog"], ["Stand", "01.02.2026"]],
        [["Produkt", None, None, "Handel"]],
    ],
)
def test_titles_of_a_sheet_are_left_out(tmp_path, above):
    images(tmp_path)
    book = openpyxl.Workbook()
    for row in [*above, [*HEADER, "Farbe"], *([*cells, "rot"] for cells in rows())]:
        book.active.append(row)
    book.save(tmp_path / "Katalog.xlsx")
    reader, samples, rejected = read_all(tmp_path)
    assert not rejected and [s.captions[0] for s in samples] == CAPTIONS
    assert reader.notes[ABOVE] == sum(map(bool, above))


@pytest.mark.parametrize(
    "first",
    [
        [["image", "caption", "", "", ""], ["a", "b", "c", "d", "e"]],
        [["caption"], ["red dress", "blue hat"]],
        [["", "image", "caption"], ["0", "a.jpg", "red dress"]],
        [["files"], ["a.jpg", "red dress"]],
        [["notes"], ["7", "red dress"]],
        [["one"]],
        [],
    ],
)
def test_a_header_is_no_title(first):
    assert titles(first) == 0


def test_amazons_template_has_its_names_twice():
    template = [
        ["TemplateType=fptcustom", "Version=2023", "", "", "", "", ""],
        ["Seller SKU", "Product Name", "Parentage", "Brand", "Colour", "Main Image", "Size"],
        ["item_sku", "item_name", "parent_child", "brand", "color_name", "main_image_url", "size"],
        ["P1", "red dress", "Parent", "", "", "", ""],
    ]
    assert titles(template) == 2


# ---------------------------------------------------------------- separators


@pytest.mark.parametrize("sep", ["^", "~", "¦", "\x01", "§", "#", "!"])
def test_any_character_that_splits_all_rows_separates(tmp_path, sep):
    images(tmp_path)
    lines = [["sku", "image", "title", "price"], *rows()]
    put(tmp_path / "export.csv", "".join(sep.join(line) + "\n" for line in lines))
    samples, rejected = read(tmp_path)
    assert not rejected and [s.captions[0] for s in samples] == CAPTIONS
    assert samples[0].attributes == {"sku": "A0", "price": "1,50"}


@pytest.mark.parametrize("sep", ["--", "  "])
def test_a_separator_that_is_not_found_is_asked_for_by_its_key(tmp_path, sep):
    images(tmp_path)
    lines = [["sku", "image", "title"], *(row[:2] + [f"a, b, {row[2]}"] for row in rows())]
    path = put(tmp_path / "export.csv", "".join(sep.join(line) + "\n" for line in lines))
    with pytest.raises(WorkError, match="header names 1 column.*prepare.table.separator"):
        readers.choose(path, Prepare())


def test_a_table_of_which_no_row_can_be_used_is_refused(tmp_path):
    path = put(tmp_path / "bad.jsonl", "{'image': 'a.jpg'}\n" * 5)
    with pytest.raises(WorkError, match="None of the first 5 rows.*not JSON"):
        readers.choose(path, Prepare())


def test_rows_of_another_separator_are_refused_with_the_key(tmp_path):
    images(tmp_path)
    path = put(tmp_path / "export.csv", text_of([]))
    options = Prepare(table=TableFile(separator=","))
    with pytest.raises(WorkError, match="prepare.table.separator"):
        readers.choose(path, options)


# ---------------------------------------------------------------- formulas


@pytest.mark.parametrize("above", [[], [["Katalog 2026"], []]])
def test_formulas_without_stored_values_are_explained(tmp_path, above):
    book = openpyxl.Workbook()
    for line in [*above, ["sku", "image", "color", "title"]]:
        book.active.append(line)
    for n in range(4):
        put(tmp_path / f"p{n}.jpg")
        book.active.append([n, f"p{n}.jpg", "red", f'=C{n + 2}&" dress"'])
    book.save(tmp_path / "catalog.xlsx")
    with pytest.raises(UsageError, match="formulas without stored values.*'title'.*save it"):
        read(tmp_path)


def test_formulas_of_another_column_are_said(tmp_path):
    book = openpyxl.Workbook()
    book.active.append(["image", "title", "price"])
    for n in range(4):
        put(tmp_path / f"p{n}.jpg")
        book.active.append([f"p{n}.jpg", f"red dress {n}", f"=A{n + 2}*2"])
    book.save(tmp_path / "catalog.xlsx")
    reader, samples, _ = read_all(tmp_path)
    assert len(samples) == 4
    assert facts(reader, stops=False).endswith("read as empty: 'price'.")


def test_characters_that_separate_nothing_are_not_tried(monkeypatch):
    """A first line of a thousand kinds of characters is not a thousand passes."""
    tried = []
    fit = dialect._best_quoting
    monkeypatch.setattr(dialect, "_best_quoting", lambda *args: tried.append(args) or fit(*args))
    head = "".join(map(chr, range(0x2010, 0x2400))) + "^~\x01"
    lines = [(1, head), *((n, "red dress") for n in range(2, 200))]
    dialect.find(lines, True, TableFile(), 1 << 20)
    assert len(tried) < 10
