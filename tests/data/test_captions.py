"""Captions: mended, filled in from columns, equal whatever their case and blanks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unidiff_cli.data import captions


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ("Men&#39;s  caf&eacute;\n tee", "Men's café tee"),
        ("<p>Soft <b>cotton</b><br/></p>", "Soft cotton"),
        ("<A HREF='/x' class=y>Hat</A>", "Hat"),
        ("<image>\na hat", "a hat"),
        # What only looks like markup.
        ("size < M > S", "size < M > S"),
        ("coat <S-XXL>, <NEW>, <leather>", "coat <S-XXL>, <NEW>, <leather>"),
        ("pen&notebook, boho&ethnic", "pen&notebook, boho&ethnic"),
        ("H&M &amp AT&T, R&D;", "H&M & AT&T, R&D;"),
        # Letters that were read in a wrong encoding.
        ("cafÃ© â€“ red", "café – red"),
        ("naïve, Ã la carte, 30 â‚¬", "naïve, à la carte, 30 €"),
        # Letters, quotes and ligatures that are right.
        ("café", "café"),
        ("日本", "日本"),
        ("“smart” ‘quotes’ of ﬁne ｗool", "“smart” ‘quotes’ of ﬁne ｗool"),
        ("e\u0301", "e\u0301"),
        # What would obey a terminal.
        ("a \x1b[31mred\x1b[0m dress\a\0", "a red dress"),
        ("a\ud800b", "a\ufffdb"),
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


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "nan",
            "NaN",
            "None",
            "NULL",
            "N/A",
            "-",
            "#N/A",
            "\\N",
            "TBD",
            "No description",
        ),
        *("k.A.", "k. A.", "keine  Angabe", "(leer)", "n.v.", "#WERT!", "Non renseigné", "n.d."),
        *("Sin datos", "#¡VALOR!", "non specificato", "nvt", "n.v.t.", "Brak", "sem descrição"),
    ],
)
def test_words_for_nothing_are_missing(text):
    assert captions.is_missing(text)


@pytest.mark.parametrize(
    "text",
    ["naan", "a hat", "no", "0", "none of these", "not available", "leer", "XL", "1/2", "unknown"],
)
def test_other_words_are_not_missing(text):
    assert not captions.is_missing(text)


def test_a_template_is_filled_in_from_columns():
    cells = {"name": "Dress", "color": ["red", None, "blue"], "size": None, "tags": '["a", "b"]'}
    assert captions.fields("{name} in {color?}") == ["name", "color"]
    assert captions.fill("{name} in {color}", cells) == "Dress in red, blue"
    assert captions.fill("{name}: {tags}", cells) == "Dress: a, b"
    for empty in ({**cells, "size": "N/A"}, {**cells, "size": float("nan")}, cells):
        with pytest.raises(KeyError, match="size"):
            captions.fill("{name} {size}", empty)
    assert captions.empty_field("size").text.endswith("write {size?} in prepare.caption")


@pytest.mark.parametrize(
    ("template", "cells", "wanted"),
    [
        ("{name} in {color?}", "name color", "name in color"),
        ("{name} in {color?}", "name", "name"),
        ("{name} in {color?}, {kind}", "name kind", "name, kind"),
        ("{name} in {color?} and {size?}", "name color", "name in color"),
        ("{brand?} {name}", "name", "name"),
        ("{brand?} - {name}", "name", "name"),
        ("{brand?}: {name}", "name", "name"),
        ("A photo of a {color?} {name}", "name", "A photo of a name"),
        ("A photo of a {color?} dress for {age}", "age", "A photo of a dress for age"),
        ("{color?} dress for {age}", "age", "dress for age"),
        ("({brand?}) {name}", "name", "name"),
        ("Colour: {color?}, {name}", "name", "name"),
        ("Colour: {color?}, {name}", "name color", "Colour: color, name"),
        ("{name}, {size?} cm, in {color}", "name color", "name, in color"),
        ("{name} ({color?}) by {brand?}", "name brand", "name by brand"),
        ("{name} ({color?}, {size?})", "name", "name"),
        ("{name} ({color?}, {size?})", "name size", "name (size)"),
        ("{name} ({color?}, {size?})", "name color", "name (color)"),
        ("{name}. Size {size?}.", "name", "name."),
        ("{name} in {color?}, size {size?} ({kind?})", "name kind", "name (kind)"),
        ("{name} in {color?}, size {size?} ({kind?})", "name size", "name, size size"),
        ("{name} {color?} (new)", "name", "name (new)"),
        ("{name} {color?} — {kind}", "name kind", "name — kind"),
        ("{name} {color?} | {kind}", "name kind", "name | kind"),
        ("{name} {color?}, {kind}", "name kind", "name, kind"),
        ("a {color?} {name?}", "", ""),
        ("a thing of our shop", "", "a thing of our shop"),
    ],
)
def test_an_optional_field_goes_with_the_words_that_lead_to_it(template, cells, wanted):
    assert captions.fill(template, {name: name for name in cells.split()}) == wanted


@pytest.mark.parametrize(
    ("cell", "wanted"),
    [(38.0, "38"), ("38.0", "38"), (38.5, "38.5"), ("2.50", "2.50"), (38, "38"), ("v1.0", "v1.0")],
)
def test_a_whole_number_of_a_template_has_no_point(cell, wanted):
    assert captions.fill("{name} {size?}", {"name": "Dress", "size": cell}) == f"Dress {wanted}"


def test_equal_captions_have_one_number():
    texts = ["Red  dress", "a hat", "red dress ", "A HAT", "red dresses"]
    assert captions.number_distinct(texts) == [0, 1, 0, 1, 2]
    assert captions.number_distinct([]) == []
    assert captions.number_distinct(texts, lambda text: text[0].lower()) == [0, 1, 0, 1, 0]


@given(st.text())
def test_what_equal_captions_have_in_common_stays(text):
    assert captions.same_text(captions.same_text(text)) == captions.same_text(text)


def test_equal_captions_differ_in_case_and_blanks_only():
    assert captions.same_text("Red  dress") == captions.same_text("red dress ")
    assert captions.same_text("red dress") != captions.same_text("red dresses")
