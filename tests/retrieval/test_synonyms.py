"""Words that stand for an attribute's value: found where they take the place of its name."""

import pytest

from unidiff_cli.data.shards import Row
from unidiff_cli.errors import Damaged
from unidiff_cli.retrieval.synonyms import (
    FILE,
    Offer,
    Synonym,
    learn,
    offers,
    read_synonyms,
    write_synonyms,
)


def rows(*products):
    """A row for each (caption, attributes), each of a product of its own."""
    return [
        Row(f"{n:03d}", f"{n:03d}", "train", f"p{n}", (caption,), cells)
        for n, (caption, cells) in enumerate(products)
    ]


def shop(plaid="a plaid shirt", plaids=6):
    """Twenty checked and twenty plain shirts; of the checked ones some captions say plaid."""
    checked = [("a checked shirt", {"pattern": "checked"})] * (20 - plaids)
    plain = [("a plain shirt", {"pattern": "plain"})] * 20
    return rows(*checked, *[(plaid, {"pattern": "checked"})] * plaids, *plain)


def test_a_word_that_takes_the_place_of_a_values_name_is_learnt():
    assert learn(shop()) == {"plaid": Synonym("pattern", "checked", 6, 6)}


def test_a_word_beside_the_values_name_is_none():
    assert learn(shop("a checked plaid shirt")) == {}


def test_a_word_of_few_products_is_none():
    assert learn(shop(plaids=4)) == {}
    one_product = [
        Row(r.key, r.id, r.split, "p", r.captions, r.attributes) if "plaid" in r.captions[0] else r
        for r in shop()
    ]
    assert learn(one_product) == {}


def test_a_word_that_other_values_have_too_is_none():
    others = rows(*[("a plaid skirt", {"pattern": "plain"})] * 2)
    assert learn([*shop(), *others]) == {}


def test_what_always_comes_with_a_value_that_no_caption_names_is_none():
    """Every skirt is of women, and no caption says so: "skirt" is not how one says "women"."""
    skirts = [("a skirt", {"gender": "women"})] * 10
    assert learn(rows(*skirts, *[("a shirt", {"gender": "men"})] * 10)) == {}


def test_words_are_compared_in_small_letters():
    assert learn(shop("A Plaid Shirt"))["plaid"].images == 6


KNOWN = {
    "plaid": Synonym("pattern", "checked", 36, 37),
    "tartan": Synonym("pattern", "checked", 9, 9),
    "cream": Synonym("color family", "off-white", 1200, 1250),
    "dotty": Synonym("pattern", "dotted", 9, 9),
}


def test_a_filter_is_offered_with_its_reason():
    [offer] = offers("A plaid, tartan shirt", KNOWN)
    assert offer.words == ("plaid", "tartan") and offer.where == "pattern = 'checked'"
    assert offer.reason == (
        "In captions 'plaid' and 'tartan' stand for pattern 'checked', in 36 of 37 images."
    )
    [offer] = offers("cream shirt", KNOWN)
    assert offer.where == "`color family` = 'off-white'" and "1,200 of 1,250" in offer.reason


@pytest.mark.parametrize("text", ["a shirt", "", "checked plaid shirt", "plaid or dotty"])
def test_nothing_is_offered_for_what_the_text_says_itself_or_where_two_values_are_meant(text):
    assert offers(text, KNOWN) == []


def test_a_quote_in_a_value_is_doubled():
    known = Synonym("brand", "men's own", 5, 5)
    assert Offer(("mo",), known).where == "brand = 'men''s own'"


def test_written_and_read_again(tmp_path):
    write_synonyms(tmp_path, KNOWN)
    assert read_synonyms(tmp_path) == KNOWN


@pytest.mark.parametrize("text", ["", "[]", '{"plaid": 1}', '{"plaid": {"column": "pattern"}}'])
def test_a_damaged_file_is_refused(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(Damaged, match="unidiff index --force"):
        read_synonyms(tmp_path)
