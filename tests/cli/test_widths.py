"""Tables and pairs on terminals of several widths, and whole in a pipe."""

import pytest
from rich.cells import cell_len
from rich.console import Console

from unidiff_cli.cli import console
from unidiff_cli.cli.widths import cut, shortened

FOLDER = "/home/somebody/shops/the-one-with-the-long-name/export 2026/images"
NAMES = [
    "p0042-red-front.jpg",
    "赤いドレス-正面.jpg",
    "a" * 40 + ".jpg",
    "[b]red :dress: [x].png",
    "x\\",
]
COLUMNS = ["rank", "score", "caption", "path"]


@pytest.fixture(params=[40, 60, 80, 120])
def terminal(request, monkeypatch):
    """A terminal of so many columns on standard output."""
    width = request.param
    wide = Console(
        force_terminal=True, width=width, soft_wrap=True, color_system=None, **console.PLAIN
    )
    monkeypatch.setattr(console, "out", wide)
    return width


def cells_of(output, column):
    """The text of a column of a printed table, its lines joined."""
    lines = [line.split("│")[1:-1] for line in output.splitlines() if line.startswith("│")]
    return "".join(line[column].strip() for line in lines)


@pytest.mark.parametrize("name", NAMES)
def test_a_hit_shows_its_file_whole(terminal, capsys, name):
    caption = "a [bold red]red[/] dress with short sleeves :dress: and \\[x] of the finest wool"
    console.show_table(COLUMNS, [[1, "0.512", caption, f"{FOLDER}/{name}"]], path="path")
    output = capsys.readouterr().out
    assert max(map(cell_len, output.splitlines())) == terminal
    assert cells_of(output, 3).replace(" ", "").endswith(name.replace(" ", ""))
    assert cells_of(output, 2).replace(" ", "") == caption.replace(" ", "")


def test_paths_that_fit_are_whole(terminal, capsys):
    console.show_table(COLUMNS, [[1, "0.5", "dress", "/shop/p1.jpg"]], path="path")
    assert "/shop/p1.jpg" in capsys.readouterr().out


def test_a_table_of_no_rows_is_one(terminal, capsys):
    console.show_table(COLUMNS, [], path="path")
    assert "path" in capsys.readouterr().out


def test_status_shows_names_whole(terminal, capsys):
    name = "exports/001-a-recipe-that-somebody-wrote-for-the-spring-of-this-year"
    rows = [[name, "stale", "of 001-fashion, and 002-fashion is the current export"]]
    console.show_table(["folder", "state", "contents"], rows)
    assert cells_of(capsys.readouterr().out, 0) == name


def test_a_caption_that_went_astray_is_cut_on_a_terminal(terminal, capsys):
    console.show_table(COLUMNS, [[1, "0.5", "word " * 2000, "/shop/p1.jpg"]], path="path")
    output = capsys.readouterr().out
    assert cells_of(output, 3).endswith("/p1.jpg") and "…" in cells_of(output, 2)
    assert len(output.splitlines()) < 60


def test_in_a_pipe_everything_is_whole(capsys):
    caption, path = "字" * 6000, f"{FOLDER}/{'n' * 250}.jpg"
    console.show_table(COLUMNS, [[1, "0.5", caption, path]], path="path")
    row = next(line for line in capsys.readouterr().out.splitlines() if path in line)
    assert caption in row
    console.show_pairs([("reason " * 20, "text " * 50)])
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_pairs_are_two_columns_and_wrapped(terminal, capsys):
    reason = "  truncated: the file ends before the [image] :dress: does"
    text = "title, of which 20 of 24 are distinct, and which is the longest of all columns \\"
    console.show_pairs([("rows in", "40"), (reason, "3"), ("caption column", text)])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= terminal
    value = next(line for line in lines if line.startswith("rows in")).index("40")
    labels = " ".join(" ".join(line[:value] for line in lines).split())
    texts = " ".join(" ".join(line[value:] for line in lines).split())
    assert labels == f"rows in {reason.strip()} caption column" and texts == f"40 3 {text}"
    assert sum(line.startswith("  ") for line in lines if line[:value].strip()) >= 1


@pytest.mark.parametrize(
    "path, most, expected",
    [
        ("/a/b/c.jpg", 10, "/a/b/c.jpg"),
        ("/shop/images/c.jpg", 14, "/shop/i…/c.jpg"),
        ("/shop/images/c.jpg", 12, "/shop…/c.jpg"),
        ("/shop/images/c.jpg", 3, "…/c.jpg"),
        ("images-and-names.jpg", 5, "images-and-names.jpg"),
        ("/字字字字/字.jpg", 11, "/字…/字.jpg"),
    ],
)
def test_a_path_loses_its_middle(path, most, expected):
    assert shortened(path, most) == expected


@pytest.mark.parametrize(
    "text, expected", [("dress", "dress"), ("a dress", "a dr…"), ("字字字", "字字…")]
)
def test_a_text_loses_its_end(text, expected):
    assert cut(text, 5) == expected
