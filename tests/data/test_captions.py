"""Captions: mended, filled in from columns, equal whatever their case and blanks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unidiff_cli.data import captions


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ("Men&#39;s  caf&eacute;\n tee", "Men's café tee"),
        ("<p>Soft <b>cotton</b></p>", "Soft cotton"),
        ("size < M > S", "size < M > S"),
        ("cafÃ© â€“ red", "café – red"),
        ("café", "café"),
        ("日本", "日本"),
    ],
)
def test_captions_are_mended(raw, wanted):
    assert captions.clean(raw) == wanted
    assert captions.clean(wanted) == wanted


@given(st.text())
def test_a_clean_caption_is_one_line_that_utf8_can_hold(text):
    caption = captions.clean(text)
    caption.encode()
    assert caption == caption.strip() and "\n" not in caption and "\0" not in caption


def test_a_template_is_filled_in_from_columns():
    cells = {"name": "Dress", "color": ["red", None, "blue"], "size": None}
    assert captions.fields("{name} in {color}") == ["name", "color"]
    assert captions.fill("{name} in {color}", cells) == "Dress in red, blue"
    with pytest.raises(KeyError, match="size"):
        captions.fill("{name} {size}", cells)


def test_equal_captions_differ_in_case_and_blanks_only():
    assert captions.same_text("Red  dress") == captions.same_text("red dress ")
    assert captions.same_text("red dress") != captions.same_text("red dresses")
