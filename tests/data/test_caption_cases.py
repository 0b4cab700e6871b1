"""Catalogues whose captions are lists, templates with gaps, words for nothing, or long."""

import json
from pathlib import Path

import pytest

from tests.support.catalogue import jpeg, put, tar_of
from unidiff_cli.config.prepare import Limits, Prepare
from unidiff_cli.data import readers
from unidiff_cli.data.readers.rows.cells import missing_note
from unidiff_cli.data.sample import Cause, Rejected


def table(folder: Path, cells: list[dict]) -> Path:
    """catalog.jsonl with a row and an image for each."""
    rows = [{"image": f"{n}.jpg", **row} for n, row in enumerate(cells)]
    for row in rows:
        put(folder / row["image"])
    put(folder / "catalog.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return folder


def read(folder: Path, **options) -> list:
    """The captions of each row, or the reason why it has none."""
    items = list(readers.choose(folder, Prepare(**options)))
    return [item.reason if isinstance(item, Rejected) else list(item.captions) for item in items]


def test_a_list_in_a_cell_is_several_captions(tmp_path):
    cells = [{"captions": json.dumps([f"hat {n} {k}" for k in range(5)])} for n in range(3)]
    cells.append({"captions": '["hat", "ba'})
    *captions, bad = read(table(tmp_path, cells))
    assert captions == [[f"hat {n} {k}" for k in range(5)] for n in range(3)]
    assert bad.cause is Cause.UNREAD_CAPTION and "list" in bad.text


def test_a_list_in_a_text_file_is_several_captions(tmp_path):
    put(tmp_path / "a.jpg")
    put(tmp_path / "a.txt", '[\n  "a hat",\n  "a cap"\n]\n')
    put(tmp_path / "b.jpg")
    put(tmp_path / "b.txt", '["a hat", "a c')
    put(tmp_path / "c.jpg")
    put(tmp_path / "c.txt", "[NEW] a hat\na cap\n")
    first, bad, last = read(tmp_path, sidecar="lines")
    assert first == ["a hat", "a cap"] and last == ["[NEW] a hat", "a cap"]
    assert bad.cause is Cause.UNREAD_CAPTION


def test_a_damaged_list_in_a_tar_is_a_bad_row(tmp_path):
    entries = [("0.jpg", jpeg()), ("0.json", json.dumps({"caption": "['a hat', 'a b"}).encode())]
    tar_of(tmp_path / "a.tar", entries)
    (reason,) = read(tmp_path)
    assert reason.cause is Cause.UNREAD_CAPTION


def test_words_for_nothing_are_no_captions(tmp_path):
    words = ["nan", "None", "NULL", "N/A", "-", "NaN", "", None]
    reader = readers.choose(
        table(tmp_path, [{"caption": word} for word in [*words, "naan"]]), Prepare()
    )
    items = list(reader)
    assert [item.reason.cause for item in items[:-1]] == [Cause.NO_CAPTION] * len(words)
    assert items[-1].captions == ("naan",) and reader.notes[missing_note("caption")] == 6


def test_a_word_for_nothing_among_several_captions_is_left_out(tmp_path):
    assert read(table(tmp_path, [{"caption": ["a hat", "N/A", None]}])) == [["a hat"]]


@pytest.mark.parametrize("empty", ["", None, "nan", "N/A", [], [None]])
def test_a_gap_of_a_template_is_a_bad_row_or_optional(tmp_path, empty):
    cells = [{"name": "hat", "color": empty}, {"name": "bag", "color": "red"}]
    source = table(tmp_path, cells)
    reason, captions = read(source, caption="{name} in {color}")
    assert reason.cause is Cause.NO_CAPTION and "{color?}" in reason.text
    assert captions == ["bag in red"]
    assert read(source, caption="{name} in {color?}") == [["hat"], ["bag in red"]]


def test_a_row_where_all_of_a_template_is_empty_has_no_caption(tmp_path):
    source = table(tmp_path, [{"name": "", "color": ""}, {"name": "hat", "color": ""}])
    reason, captions = read(source, caption="{color?} {name?}")
    assert reason.text == "no caption: every field of prepare.caption is empty"
    assert captions == ["hat"]


def test_a_long_description_is_a_caption_up_to_its_limit(tmp_path):
    long = "hat" + " and more" * 1400
    source = table(tmp_path, [{"description": "hat"}, {"description": long}])
    assert read(source) == [["hat"], [long]]
    reason = read(source, limits=Limits(caption=10_000))[1]
    assert reason.text == "a caption longer than 10,000 characters (prepare.limits.caption)"


def test_markup_does_not_count_in_the_length_of_a_caption(tmp_path):
    source = table(tmp_path, [{"description": "<p>hat</p>" * 20}])
    assert read(source, limits=Limits(caption=80)) == [[" ".join(["hat"] * 20)]]
