"""Texts beside images: their names, letters, lines, and those of several that are the caption."""

import json

import pytest

from tests.support.catalogue import put
from tests.support.reading import facts, read, read_all
from tests.support.sidecars import DRESSES, captions, write
from unidiff_cli.data.sample import Cause

# ---------------------------------------------------------------- names

NAMES = [
    "p{n}.txt",
    "p{n}.TXT",
    "p{n}.Txt",
    "p{n}.jpg.txt",
    "p{n}.caption",
    "p{n}.CAPTION",
    "P{n}.txt",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("folder", ["", "dress"])
def test_a_text_is_found_by_its_name(tmp_path, name, folder):
    write(tmp_path / folder, "red dress {n}", name)
    reader, samples, rejected = read_all(tmp_path)
    assert captions(samples) == DRESSES and not rejected and not facts(reader)


@pytest.mark.parametrize("name", ["p{n}.json", "p{n}.JSON", "p{n}.jpg.json"])
def test_a_json_holds_the_caption_and_attributes(tmp_path, name):
    write(tmp_path / "dress", '{{"caption": "red dress {n}", "color": "red", "sku": "S{n}"}}', name)
    reader, samples, rejected = read_all(tmp_path)
    assert captions(samples) == DRESSES and not rejected and not facts(reader)
    assert samples[1].attributes == {"color": "red", "sku": "S1", "class": "dress"}
    assert samples[1].id == "S1"


def test_a_json_without_a_caption_leaves_it_to_the_class(tmp_path):
    write(tmp_path / "dress", '{{"price": {n}}}', "p{n}.json")
    samples, _ = read(tmp_path)
    assert captions(samples) == [("a photo of dress",)] * 4
    assert samples[2].attributes == {"price": 2, "class": "dress"}


def test_a_broken_json_costs_its_image(tmp_path):
    write(tmp_path, '{{"caption": "red dress {n}"}}', "p{n}.json")
    put(tmp_path / "p1.json", "{")
    put(tmp_path / "p2.json", "[1]")
    samples, rejected = read(tmp_path)
    assert len(samples) == 2 and [item.reason.cause for item in rejected] == [Cause.NOT_JSON] * 2


def test_names_with_dots_and_blanks(tmp_path):
    write(tmp_path, "red dress {n}", "item {n}.v1.2.txt", count=0)
    for n in range(4):
        put(tmp_path / f"item {n}.v1.2.jpg")
        put(tmp_path / f"item {n}.v1.2.txt", f"red dress {n}")
    assert captions(read(tmp_path)[0]) == DRESSES


def test_names_that_differ_in_case_are_not_mixed_up(tmp_path):
    for name in ("a", "A"):
        put(tmp_path / f"{name}.jpg")
        put(tmp_path / f"{name}.txt", f"text of {name}")
    put(tmp_path / "b.jpg")
    put(tmp_path / "B.jpg")
    put(tmp_path / "b.txt", "text of b")
    samples, rejected = read(tmp_path)
    texts = {sample.row: sample.captions[0] for sample in samples}
    assert texts == {"a.jpg": "text of a", "A.jpg": "text of A", "b.jpg": "text of b"}
    assert [item.row for item in rejected] == ["B.jpg"]


def test_one_text_for_two_images_is_said(tmp_path):
    write(tmp_path, "red dress {n}")
    put(tmp_path / "p0.png")
    reader, samples, _ = read_all(tmp_path)
    assert captions(samples) == [DRESSES[0], *DRESSES]
    assert "1 texts lie beside several images each, such as p0.jpg and p0.png" in facts(reader)


def test_texts_whose_image_is_not_there_are_said(tmp_path):
    write(tmp_path, "red dress {n}")
    put(tmp_path / "lost.txt", "a lost dress")
    put(tmp_path / "notes" / "readme.txt", "about this folder")
    reader, samples, _ = read_all(tmp_path)
    assert len(samples) == 4
    assert "1 texts have no image of their name, such as lost.txt" in facts(reader, False)


def test_images_without_a_text_among_others_are_said(tmp_path):
    write(tmp_path / "dress", "red dress {n}")
    put(tmp_path / "dress" / "q.jpg")
    reader, samples, _ = read_all(tmp_path)
    assert captions(samples) == [*DRESSES, ("a photo of dress",)]
    assert "1 of 5 images have no text beside them" in facts(reader, False)


def test_an_empty_text_is_a_bad_row(tmp_path):
    """kohya's trainer ends at such a file; a missing one is the folder's name there and here."""
    write(tmp_path / "dress", "red dress {n}")
    put(tmp_path / "dress" / "p2.txt", " \n").write_text("")
    samples, (rejected,) = read(tmp_path)
    assert len(samples) == 3 and rejected.row == "dress/p2.jpg"
    assert rejected.reason.cause is Cause.NO_CAPTION and "p2.txt is empty" in rejected.reason.text


PARALLEL = {
    "beside the images": ("images/p{n}.jpg", "captions/p{n}.txt"),
    "of images above": ("p{n}.jpg", "texts/p{n}.txt"),
    "in every split": ("train/images/p{n}.jpg", "train/prompts/p{n}.txt"),
    "with splits below": ("images/train/p{n}.jpg", "captions/train/p{n}.txt"),
    "in every class": ("dress/p{n}.jpg", "dress/txt/p{n}.txt"),
    "as json": ("images/p{n}.jpg", "captions/p{n}.json"),
}


@pytest.mark.parametrize("case", PARALLEL)
def test_texts_may_lie_in_a_folder_of_captions(tmp_path, case):
    image, text = PARALLEL[case]
    for n in range(4):
        words = f"red dress {n}"
        put(tmp_path / image.format(n=n))
        words = json.dumps({"caption": words}) if text.endswith("json") else words
        put(tmp_path / text.format(n=n), words)
    reader, samples, _ = read_all(tmp_path)
    assert captions(samples) == DRESSES and not facts(reader)


@pytest.mark.parametrize("folder", ["labels", "annotations", "meta"])
def test_texts_in_another_folder_are_asked_about(tmp_path, folder):
    """YOLO's labels are numbers; another's are captions."""
    for n in range(4):
        put(tmp_path / "dress" / f"p{n}.jpg")
        put(tmp_path / folder / f"p{n}.txt", "0 0.5 0.5 1 1")
    reader, samples, _ = read_all(tmp_path)
    assert captions(samples) == [("a photo of dress",)] * 4
    assert f"4 texts in other folders have the names of images, such as {folder}/p0.txt" in facts(
        reader, True
    )


# ---------------------------------------------------------------- several texts


def test_txt_and_caption_that_differ_are_asked_for(tmp_path):
    """kohya's scripts write tags into .txt and sentences into .caption; others do not."""
    write(tmp_path, "1girl, red dress {n}")
    write(tmp_path, "red dress {n}", "p{n}.caption")
    reader, samples, _ = read_all(tmp_path)
    assert samples[0].captions == ("1girl, red dress 0",)
    assert "4 images have two texts that differ, such as p0.txt and p0.caption" in facts(
        reader, True
    )
    reader, samples, _ = read_all(tmp_path, sidecar_ending="caption")
    assert captions(samples) == DRESSES and not facts(reader, True)


def test_equal_txt_caption_and_json_are_no_doubt(tmp_path):
    for name in ("p{n}.txt", "p{n}.caption"):
        write(tmp_path, "red dress {n}", name)
    write(tmp_path, '{{"caption": "red dress {n}", "width": 8}}', "p{n}.json")
    reader, samples, _ = read_all(tmp_path)
    assert captions(samples) == DRESSES and not facts(reader)
    assert samples[0].attributes == {"width": 8}


# ---------------------------------------------------------------- letters

MARKED = ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_marked_texts_are_read_as_they_say(tmp_path, encoding):
    write(tmp_path, "Übergröße 红色 {n}", encoding=encoding)
    reader, samples, _ = read_all(tmp_path)
    assert captions(samples) == [(f"Übergröße 红色 {n}",) for n in range(4)] and not facts(reader)


def test_the_encoding_is_that_of_all_texts_and_is_said(tmp_path):
    write(tmp_path, "красное платье {n}", encoding="cp1251", count=12)
    write(tmp_path / "plain", "red dress {n}")
    reader, samples, _ = read_all(tmp_path)
    texts = {sample.captions[0] for sample in samples}
    assert {"красное платье 3", "red dress 3"} <= texts
    assert reader.decisions()["encoding of texts"].lower().replace("windows-", "cp") == "cp1251"
    assert "12 texts" in facts(reader) and "cp1251" in facts(reader)


# ---------------------------------------------------------------- lines

WRAPPED = {
    "ends in a comma": "A studio photo of a red dress,\nseen from the front\n",
    "ends in a small word": "red dress made of\ncotton\n",
    "goes on in lower case": "Red dress with long sleeves\nand a belt\n",
}


@pytest.mark.parametrize("text", WRAPPED.values(), ids=list(WRAPPED))
def test_a_wrapped_caption_is_one_and_asked_for(tmp_path, text):
    write(tmp_path, text)
    reader, samples, _ = read_all(tmp_path)
    assert captions(samples) == [(" ".join(text.split()),)] * 4
    assert "4 of 4 texts with several lines look like one wrapped sentence" in facts(reader, True)
    for way, count in (("text", 1), ("lines", 2)):
        reader, samples, _ = read_all(tmp_path, sidecar=way)
        assert len(samples[0].captions) == count and not facts(reader)


LINES = [
    "a red dress\na dress of cotton\n",
    "A red dress.\nA dress of cotton.",
    "red dress\n\nlong dress",
]


@pytest.mark.parametrize("text", LINES)
def test_lines_that_are_captions_are_no_doubt(tmp_path, text):
    write(tmp_path, text)
    reader, samples, _ = read_all(tmp_path)
    assert all(len(sample.captions) == 2 for sample in samples) and not facts(reader)


def test_a_text_of_one_caption_keeps_its_limits(tmp_path):
    write(tmp_path, "x" * 100)
    put(tmp_path / "p1.txt", json.dumps("x" * 2000))
    samples, (rejected,) = read(tmp_path, limits={"text_bytes": 1000})
    assert len(samples) == 3 and "prepare.limits.text_bytes" in rejected.reason.text
