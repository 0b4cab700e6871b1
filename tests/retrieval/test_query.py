"""The words of a query: texts of any length and with slashes, and files that are there."""

import logging
import shlex
from pathlib import Path

import pytest
from PIL import Image

from unidiff_cli.errors import UsageError
from unidiff_cli.retrieval.query import read_part, split_query


@pytest.fixture
def notes(caplog, monkeypatch):
    """What is noted of how a word is read."""
    monkeypatch.setattr(logging.getLogger("unidiff"), "propagate", True)
    caplog.set_level(logging.INFO, "unidiff")
    return caplog


def test_the_words_of_a_query_are_joined_and_a_file_is_the_image(tmp_path):
    file = tmp_path / "here.jpg"
    Image.new("RGB", (8, 8)).save(file)
    assert split_query([str(file), "in", "red"]) == ("in red", file)
    assert split_query(["black yoga pants"]) == ("black yoga pants", None)
    assert split_query(["women's tops / tees"]) == ("women's tops / tees", None)


@pytest.mark.parametrize(
    "word", ["query.jpg", "QUERY.PNG", "a.heic", "./query", "../x/query", "/no/query", "C:\\query"]
)
def test_a_word_that_can_only_be_a_file_is_never_a_text(word):
    with pytest.raises(UsageError, match="There is no image") as caught:
        split_query([word])
    assert f"--text {shlex.quote(word)}" in caught.value.action
    assert split_query([], text=word) == (word, None)


@pytest.mark.parametrize(
    "text", ["w/o sleeves", "size 8/10", "dress " * 5000, "ш" * 200, "3.5 x 4", "a" * 300]
)
def test_a_text_is_one_however_long_it_is(text, notes):
    assert split_query([text]) == (text, None) and not notes.text


@pytest.mark.parametrize("text", ["black/white", "rot\\blau", "8/10", "S/M/L", "1/2"])
def test_a_text_with_slashes_is_one_and_a_note_says_so(text, notes):
    assert split_query([text]) == (text, None)
    assert f"If it is a file: --image {shlex.quote(text)}" in notes.text


def test_a_file_of_another_name_is_the_image_and_a_note_says_so(tmp_path, monkeypatch, notes):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "black").mkdir()
    for name in ("dress", "black/white"):
        Image.new("RGB", (8, 8)).save(tmp_path / name, "PNG")
    for name in ("dress", "black/white"):
        assert split_query([name]) == (None, Path(name))
        assert f"'{name}' is read as the image" in notes.text
        assert f"--text {name}" in notes.text
    assert split_query(["black"]) == ("black", None), "a folder is no image"
    assert split_query(["red"], text="dress") == ("red dress", None)
    assert split_query(["red"], image=Path("dress")) == ("red", Path("dress"))


def test_a_message_repeats_no_long_text():
    with pytest.raises(UsageError) as caught:
        split_query(["dress " * 100 + ".jpg"])
    assert len(str(caught.value)) < 200 and "--text TEXT" in str(caught.value)


@pytest.mark.parametrize("words", [[], ["a.png", "b.png"]])
def test_no_query_and_two_images_are_refused(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for word in words:
        Image.new("RGB", (8, 8)).save(word)
    with pytest.raises(UsageError, match="nothing to search for|2 images"):
        split_query(words)


@pytest.mark.parametrize(
    ("word", "content", "weight"),
    [
        ("in red", "in red", 1.0),
        ("in red^0.5", "in red", 0.5),
        ("in red ^ 2", "in red", 2.0),
        ("a^b", "a^b", 1.0),
        ("5^", "5^", 1.0),
        ("x^0", "x", 0.0),
    ],
)
def test_a_part_has_its_weight_behind_it(word, content, weight):
    part = read_part(word)
    assert (part.content, part.weight) == (content, weight)


def test_a_part_that_names_a_file_is_an_image(tmp_path):
    file = tmp_path / "here.png"
    Image.new("RGB", (9, 8)).save(file)
    for word, weight in ((str(file), 1.0), (f"{file}^0.25", 0.25)):
        part = read_part(word)
        assert part.content.size == (9, 8) and part.weight == weight
    odd = tmp_path / "x^2"
    Image.new("RGB", (7, 8)).save(odd, "PNG")
    assert read_part(str(odd)).content.size == (7, 8), "a name that is there is no weight"


@pytest.mark.parametrize(("word", "says"), [("no.jpg^2", "no image no.jpg"), (" ^2", "is empty")])
def test_a_part_that_is_nothing_is_refused(word, says):
    with pytest.raises(UsageError, match=says):
        read_part(word)
