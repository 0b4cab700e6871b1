"""Folders of images: classes, side-cars, names of every kind, and folders that are ours."""

import json
import os
from pathlib import Path

import pytest

from tests.support.catalogue import put
from tests.support.reading import read
from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data import readers
from unidiff_cli.data.sample import Cause
from unidiff_cli.data.walk import OURS
from unidiff_cli.errors import UsageError
from unidiff_cli.project.folders import FOLDERS, MARK
from unidiff_cli.project.receipt import Receipt, close


@pytest.fixture
def shop(tmp_path) -> Path:
    put(tmp_path / "shoes_men" / "a.jpg")
    put(tmp_path / "shoes_men" / "b.jpg")
    put(tmp_path / "shoes_men" / "b.txt", "a red shoe\n\n a shoe of&nbsp;leather \n")
    put(tmp_path / "shoes_men" / "h.heic", b"x")
    put(tmp_path / "test" / "men" / "t-shirt" / "c.PNG")
    put(tmp_path / "images" / "d.jpg")
    put(tmp_path / "e.jpg")
    put(tmp_path / "e.jpg.caption", "an e")
    put(tmp_path / "f.jpg")
    put(tmp_path / "f.txt", "  \n")
    put(tmp_path / ".hidden" / "g.jpg")
    put(tmp_path / "_notes.md", "no image")
    return tmp_path


def test_a_sub_folder_is_a_class(shop):
    sample = {s.row: s for s in read(shop)[0]}["shoes_men/a.jpg"]
    assert sample.captions == ("a photo of shoes men",)
    assert sample.attributes == {"class": "shoes_men"}


def test_a_text_beside_an_image_is_its_captions(shop):
    captions = {s.row: s.captions for s in read(shop)[0]}
    assert captions["shoes_men/b.jpg"] == ("a red shoe", "a shoe of leather")
    assert captions["e.jpg"] == ("an e",)


def test_a_first_folder_may_be_a_split(shop):
    sample = {s.row: s for s in read(shop)[0]}["test/men/t-shirt/c.PNG"]
    assert sample.split == "test"
    assert sample.attributes == {"split": "test", "class": "t-shirt", "folder": "men/t-shirt"}


def test_images_without_a_caption_are_rejected(shop):
    samples, rejected = read(shop)
    assert {item.row for item in rejected} == {"images/d.jpg", "f.jpg"}
    assert all(item.reason.cause is Cause.NO_CAPTION for item in rejected)
    assert len(samples) + len(rejected) == 7


def test_an_image_of_a_foreign_format_is_a_row(shop):
    """Decoding it says what is wrong with it."""
    assert "shoes_men/h.heic" in {s.row for s in read(shop)[0]}


def test_where_knows_what_a_path_says(shop):
    rows = [s.row for s in read(shop, where={"class": "t-shirt"})[0]]
    assert rows == ["test/men/t-shirt/c.PNG"]
    with pytest.raises(UsageError, match="prepare.where"):
        read(shop, where={"colour": "red"})


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
    samples, rejected = read(tmp_path)
    assert not rejected and len(samples) == len(NAMES) + 1
    assert {s.row for s in samples} == {f"class/{n}" for n in NAMES} | {"class/\\xff.jpg"}
    assert all(s.image.is_file() for s in samples)


def test_names_of_every_kind_are_found_from_a_table(tmp_path):
    for name in NAMES:
        put(tmp_path / "class" / name)
    rows = "\n".join(json.dumps({"image": f"class/{n}", "caption": "x"}) for n in NAMES)
    samples, rejected = read(put(tmp_path / "captions.jsonl", rows))
    assert not rejected and all(s.image.is_file() for s in samples)


# ---------------------------------------------------------------- folders of ours


def rows_and_notes(folder: Path) -> tuple[list[str], dict[str, int]]:
    """The rows, and the notes about folders of ours."""
    reader = readers.choose(folder, Prepare())
    rows = [sample.row for sample in reader]
    return rows, {note: n for note, n in reader.notes.items() if "not read" not in note}


def receipt_in(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    close(folder, Receipt("evaluate", {}), 0.0)


def test_a_project_inside_the_catalogue_is_left_out(tmp_path):
    put(tmp_path / "shirts" / "a.jpg")
    put(tmp_path / "some" / "where" / "unidiff.yaml", "recipe: fashion")
    put(tmp_path / "some" / "where" / "outputs" / "b.jpg")
    assert rows_and_notes(tmp_path) == (["shirts/a.jpg"], {OURS: 1})


@pytest.mark.parametrize("place", ["comparison", "old/report", "a/b/c/of any name"])
def test_a_folder_with_our_receipt_is_left_out_wherever_it_lies(tmp_path, place):
    put(tmp_path / "shirts" / "a.jpg")
    receipt_in(tmp_path / place)
    put(tmp_path / place / "samples" / "base-000.png")
    assert rows_and_notes(tmp_path) == (["shirts/a.jpg"], {OURS: 1})


@pytest.mark.parametrize("text", ["{}", "[]", "no JSON", '{"shop": "a receipt of theirs"}'])
def test_a_receipt_that_is_not_ours_is_no_reason(tmp_path, text):
    put(tmp_path / "shirts" / "a.jpg")
    put(tmp_path / "shirts" / "receipt.json", text)
    assert rows_and_notes(tmp_path) == (["shirts/a.jpg"], {})


def test_the_folders_of_a_project_that_is_the_catalogue_are_left_out(tmp_path):
    put(tmp_path / "shirts" / "a.jpg")
    put(tmp_path / "unidiff.yaml", "recipe: fashion")
    for name in FOLDERS:
        put(tmp_path / name / "samples" / "b.jpg")
        put(tmp_path / name / MARK, "")
    assert rows_and_notes(tmp_path) == (["shirts/a.jpg"], {OURS: len(FOLDERS)})


@pytest.mark.parametrize("name", FOLDERS)
def test_a_class_may_have_the_name_of_a_folder_of_ours(tmp_path, name):
    put(tmp_path / name / "a.jpg")
    put(tmp_path / "shirts" / name / "b.jpg")
    assert rows_and_notes(tmp_path) == (sorted([f"{name}/a.jpg", f"shirts/{name}/b.jpg"]), {})


def test_what_is_left_out_is_said(tmp_path):
    put(tmp_path / "shirts" / "a.jpg")
    receipt_in(tmp_path / "report")
    assert f"1 {OURS}" in "\n".join(readers.choose(tmp_path, Prepare()).describe())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_counted(tmp_path):
    put(tmp_path / "shirts" / "a.jpg")
    put(tmp_path / "locked" / "b.jpg").parent.chmod(0)
    assert list(rows_and_notes(tmp_path)[1].values()) == [1]
