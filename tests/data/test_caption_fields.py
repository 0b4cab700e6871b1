"""Fields of captions that nobody filled."""

import pytest

from unidiff_cli.data.caption_fields import unfilled_fields


@pytest.mark.parametrize("field", ["[trigger]", "{name}", "<Token>", "%brand%"])
def test_a_field_of_most_captions_is_asked_for(field):
    captions = [(f"{field} red dress {n}", "a dress") for n in range(6)] + [("a hat",)] * 4
    (doubt,) = unfilled_fields(captions)
    assert doubt.stops and field in doubt.fact and "6 of 10" in doubt.fact


@pytest.mark.parametrize(
    "text",
    [
        "dress [S]",
        "100 % cotton",
        "a dress [12]",
        "50% off, 20% more",
        "{}",
        "x < y > z",
        "[Musinsa] hat",
    ],
)
def test_other_brackets_are_words(text):
    assert not unfilled_fields([(text,)] * 9)


def test_few_images_say_nothing():
    assert not unfilled_fields([("[trigger] hat",)] * 4)
    assert not unfilled_fields([("[trigger] hat",)] + [("hat",)] * 9)
