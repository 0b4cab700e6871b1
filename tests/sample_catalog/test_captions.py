"""Captions: they name colour and type, in many ways, as people do."""

import hashlib
import itertools
import random

from unidiff_cli.sample_catalog import caption, random_look, random_object


def tidy(text):
    return "  " not in text and " ," not in text and text == text.strip(" ,")


def test_captions_name_colour_and_type():
    rng = random.Random(0)
    for look, name in itertools.product((random_look(rng) for _ in range(200)), ("", "Juno")):
        text = caption(look, rng, name and f"{name} {look.type}")
        assert look.color in text and look.type in text and name in text
        assert tidy(text)


def test_one_look_has_many_captions():
    rng = random.Random(0)
    fields = {"color": "red", "pattern": "striped", "sleeve": "long", "audience": "women"}
    look = random_look(rng, type="dress", **fields)
    assert len({caption(look, rng) for _ in range(200)}) > 40


def test_captions_name_an_object_and_its_colour():
    rng = random.Random(0)
    for look in (random_object(rng) for _ in range(500)):
        text = caption(look, rng)
        assert look.color in text and look.type in text and "orange orange" not in text
        assert tidy(text)
        assert not any(word in text for word in ("sleeve", "women", "kids", "pair of"))


def test_an_object_is_called_what_people_call_it():
    rng = random.Random(0)
    mugs = [random_object(rng, type="mug", color="green", pattern="plain") for _ in range(200)]
    captions = {caption(look, rng) for look in mugs}
    expected = {"green mug", "a green mug", "a photo of a green mug", "green mug on a table"}
    assert expected <= captions
    oranges = [random_object(rng, type="orange") for _ in range(100)]
    assert "an orange" in {caption(look, rng) for look in oranges}


def test_nano_is_pre_trained_on_the_same_words_as_ever():
    # Nothing that the house adds may cost random_look or an unnamed caption a random number.
    total = hashlib.sha256()
    for seed in range(300):
        rng = random.Random(seed)
        look = random_object(rng) if seed % 3 == 0 else random_look(rng)
        total.update(caption(look, rng).encode())
    assert total.hexdigest()[:16] == "141cc2b5a2359c16"
