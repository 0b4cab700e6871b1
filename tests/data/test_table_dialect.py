"""How a CSV is written: found from whole records, shown, and set by name."""

import csv
import io
from pathlib import Path

import pytest

from tests.support.catalogue import put
from tests.support.reading import read
from unidiff_cli.config.prepare import Columns, Prepare, TableFile
from unidiff_cli.data import readers
from unidiff_cli.errors import UsageError, WorkError

POINTS = "\n".join(f'<li>point {n}, of many; see "{n}"</li>' for n in range(60))
CAPTIONS = [f"red dress {n}" for n in range(24)]


def written(rows, sep=",", **options) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=sep, lineterminator="\r\n", **options).writerows(rows)
    return text.getvalue()


def table(folder: Path, text: str, name="catalog.csv") -> Path:
    put(folder / "a.jpg")
    return put(folder / name, text)


def captions(path: Path, **options) -> list[str]:
    """The captions, where no row is rejected."""
    samples, rejected = read(path, **options)
    assert not rejected, rejected
    return [sample.captions[0] for sample in samples]


# ---------------------------------------------------------------- separators


@pytest.mark.parametrize("sep", [",", ";"])
def test_cells_of_sixty_lines_hide_no_separator(tmp_path, sep):
    rows = [["title", "html", "image"]] + [[title, POINTS, "a.jpg"] for title in CAPTIONS]
    path = table(tmp_path, written(rows, sep))
    assert captions(path) == CAPTIONS
    samples, _ = read(path)
    assert samples[0].attributes == {"html": POINTS}


@pytest.mark.parametrize(
    ("cell", "sep"),
    [("1,50", ";"), ("soft, warm, light", ";"), ("soft; warm", ","), ("a|b|c", ","), ("a, b", "|")],
)
def test_separators_in_cells_are_text(tmp_path, cell, sep):
    rows = [["image", "caption", "more"]] + [["a.jpg", title, cell] for title in CAPTIONS]
    path = table(tmp_path, written(rows, sep, quoting=csv.QUOTE_ALL))
    assert captions(path) == CAPTIONS and read(path)[0][3].attributes == {"more": cell}


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;"])
def test_excels_first_line_names_the_separator(tmp_path, first):
    text = f"{first}\r\nimage;caption;price\r\n"
    path = table(tmp_path, text + "".join(f"a.jpg;{title};1,5\r\n" for title in CAPTIONS))
    samples, _ = read(path)
    assert captions(path) == CAPTIONS
    assert samples[0].attributes == {"price": "1,5"} and samples[0].row == "catalog.csv:3"


def test_a_separator_is_set_by_name(tmp_path):
    path = table(tmp_path, "image~caption\n" + "".join(f"a.jpg~{title}\n" for title in CAPTIONS))
    assert captions(path, table=TableFile(separator="~")) == CAPTIONS
    assert TableFile(separator="tab").separator == "\t"
    reader = readers.choose(path, Prepare(table=TableFile(separator="~")))
    assert "separated by a ~" in reader.describe()[0]


def test_two_separators_that_fit_alike_stop(tmp_path):
    path = table(tmp_path, "image,title;caption\n" + "a.jpg,x;red dress\n" * 20)
    reader = readers.choose(path, Prepare(columns=Columns(image="image", caption="title;caption")))
    (doubt,) = [doubt for doubt in reader.doubts() if doubt.stops]
    assert "a comma or a semicolon" in doubt.fact


# ---------------------------------------------------------------- quotes


@pytest.mark.parametrize(
    "title", ['15" laptop bag', '"Luna" dress', '"24 inch', 'the "Luna', "5' 11\"", '"Luna"s dress']
)
def test_a_tsv_with_bare_quotes_is_read_as_written(tmp_path, title):
    titles = [f"{title} {n}" if n % 4 == 1 else text for n, text in enumerate(CAPTIONS)]
    path = table(tmp_path, "image\ttitle\n" + "".join(f"a.jpg\t{t}\n" for t in titles), "feed.tsv")
    assert captions(path) == titles


def test_quotes_of_two_rows_join_no_rows_of_a_tsv(tmp_path):
    titles = ['"Luna dress', 'bag 15"', *CAPTIONS]
    path = table(tmp_path, "image\ttitle\n" + "".join(f"a.jpg\t{t}\n" for t in titles), "feed.tsv")
    assert captions(path) == titles


@pytest.mark.parametrize("sep", [",", ";", "\t"])
def test_backslashes_before_quotes(tmp_path, sep):
    rows = (f'"a.jpg"{sep}"the \\"Luna\\" {title}{sep} new"\n' for title in CAPTIONS)
    path = table(tmp_path, f"image{sep}title\n" + "".join(rows))
    shown = " " if sep == "\t" else f"{sep} "
    assert captions(path) == [f'the "Luna" {title}{shown}new' for title in CAPTIONS]
    assert '\\" is a quote' in readers.choose(path, Prepare()).describe()[0]


def test_mysqls_null_is_no_letter(tmp_path):
    rows = (f'"a.jpg","a \\"{title}\\"",\\N,"x"\n' for title in CAPTIONS)
    path = table(tmp_path, "image,title,price,more\n" + "".join(rows))
    assert read(path)[0][0].attributes == {"price": "", "more": "x"}


def test_quoting_is_set_by_name(tmp_path):
    path = table(tmp_path, 'image\tcaption\na.jpg\t"red"\n')
    assert captions(path) == ["red"]
    assert captions(path, table=TableFile(quoting="none")) == ['"red"']


# ---------------------------------------------------------------- headers and ragged rows


def test_empty_cells_beyond_the_header_are_nothing(tmp_path):
    rows = "".join(f"a.jpg,{title},\n" for title in CAPTIONS)
    assert captions(table(tmp_path, "image,caption\n" + rows)) == CAPTIONS
    samples, rejected = read(table(tmp_path, f"image,caption\n{rows}a.jpg,too,many\n"))
    assert len(samples) == 24 and "3 cells" in rejected[0].reason.text


def test_lines_of_separators_only_are_left_out_and_counted(tmp_path):
    rows = "".join(f"a.jpg,{title}\n" for title in CAPTIONS)
    reader = readers.choose(table(tmp_path, f"image,caption\n{rows},\n , \n,,,\n"), Prepare())
    assert [sample.captions[0] for sample in reader] == CAPTIONS
    assert reader.notes == {"lines with separators and nothing else, left out": 3}


def test_columns_without_name_and_value_are_none(tmp_path):
    path = table(tmp_path, "image,caption,,\n" + "a.jpg,red,,\na.jpg,blue,,x\n")
    assert [sample.attributes for sample in read(path)[0]] == [{}, {"column 4": "x"}]


def test_a_header_that_comes_again_is_left_out_and_counted(tmp_path):
    rows = [f"a.jpg,{title}\n" for title in CAPTIONS]
    rows.insert(11, "image,caption\n")
    reader = readers.choose(table(tmp_path, "image,caption\n" + "".join(rows)), Prepare())
    assert [sample.captions[0] for sample in reader] == CAPTIONS
    assert reader.notes == {"lines that repeat the header, left out": 1}


@pytest.mark.parametrize("first", ["p000.jpg,red dress", "https://x.example/a,red", "a.HEIC,red"])
def test_a_first_row_of_data_is_no_header(tmp_path, first):
    path = table(tmp_path, f"{first}\n" + "a.jpg,blue dress\n" * 5)
    with pytest.raises(UsageError, match="not a header.*prepare.table.header=false"):
        read(path)
    columns = Columns(image="column 1", caption="column 2")
    samples, _ = read(path, table=TableFile(header=False), columns=columns)
    assert len(samples) + 1 >= 6 and samples[-1].captions == ("blue dress",)


def test_a_file_that_is_called_as_a_column_makes_no_row_of_a_header(tmp_path):
    put(tmp_path / "caption", "x")
    assert captions(table(tmp_path, "image,caption\na.jpg,red\n")) == ["red"]


def test_repeated_names_are_numbered(tmp_path):
    path = table(tmp_path, "Title,Image,Image,Image 2\nred,a.jpg,b.jpg,c.jpg\n")
    (sample,), _ = read(path)
    assert sample.attributes == {"Image 3": "b.jpg", "Image 2": "c.jpg"}


@pytest.mark.parametrize(
    ("text", "words"), [("image,caption\n", "has no rows"), ("", "is empty"), ("\n\n", "no rows")]
)
def test_a_table_without_rows_is_named(tmp_path, text, words):
    put(tmp_path / "catalog.csv").write_text(text)
    with pytest.raises(WorkError, match=words):
        read(tmp_path)


# ---------------------------------------------------------------- words for nothing


WORDS = ["nan", "None", "NULL", "N/A", "-", "NaN", "NA", "\\N", "#N/A", "<NA>", "n/a", "null"]


def test_words_for_nothing_are_nothing_and_counted(tmp_path):
    rows = [["image", "caption", "colour"]]
    rows += [["a.jpg", f"dress {n}", word] for n, word in enumerate(WORDS)]
    reader = readers.choose(table(tmp_path, written(rows)), Prepare())
    assert [sample.attributes for sample in reader] == [{"colour": None}] * len(WORDS)
    (note,) = reader.notes.items()
    assert "'colour'" in note[0] and note[1] == len(WORDS) and reader.doubts() == []


def test_captions_that_often_say_nothing_are_warned_of(tmp_path):
    rows = [["image", "caption"]]
    rows += [["a.jpg", WORDS[n // 4] if n % 4 == 0 else f"dress {n}"] for n in range(40)]
    reader = readers.choose(table(tmp_path, written(rows)), Prepare())
    items = list(reader)
    assert [type(item).__name__ for item in items].count("Rejected") == 10
    (doubt,) = reader.doubts()
    assert "10 of 40 captions" in doubt.fact and not doubt.stops


def test_words_that_only_look_like_nothing_stay(tmp_path):
    words = ["nano bag", "none left", "nantes", "a - b", "N/A size"]
    rows = [["image", "caption"]] + [["a.jpg", word] for word in words]
    assert captions(table(tmp_path, written(rows))) == words
