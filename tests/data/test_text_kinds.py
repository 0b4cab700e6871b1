"""Texts beside images that are no captions, or not only: settings, boxes, letters, tags, JSON."""

import json

import pytest

from tests.support.catalogue import put
from tests.support.reading import facts, read, read_all
from tests.support.sidecars import DRESSES, captions, write
from unidiff_cli.data.readers.folders.text_kinds import has_bad_letters, is_wordless
from unidiff_cli.data.readers.folders.text_look import GENERATED

# ---------------------------------------------------------------- image generators

GENERATORS = {
    "Automatic1111": "red dress {n}\nNegative prompt: ugly\nSteps: 20, Sampler: Euler a, Seed: 5",
    "without a negative prompt": "red dress {n}\nSteps: 20, Sampler: Euler a, CFG scale: 7",
    "a long negative": "red dress {n}\nNegative prompt: bad,\nblurry\nSteps: 9, Size: 8",
    "a prompt of several lines": "red\ndress {n}\nNegative prompt: ugly",
    "in one line": "red dress {n} Negative prompt: ugly Steps: 20, Sampler: DDIM, Seed: 1",
    "a label each": "Prompt: red dress {n}\nNegative Prompt: ugly\nSeed: 1\nModel: x",
    "settings alone": "red dress {n}\nSeed: 1\nModel: x\nGuidance scale: 7.5",
}


@pytest.mark.parametrize("case", GENERATORS)
def test_the_prompt_of_an_image_generator_is_the_caption(tmp_path, case):
    write(tmp_path, GENERATORS[case])
    reader, samples, rejected = read_all(tmp_path)
    assert captions(samples) == DRESSES and not rejected and not facts(reader)
    assert reader.notes == {GENERATED: 4} and "texts of image generators" in reader.decisions()


@pytest.mark.parametrize(
    "text", ["red dress\nSize: M\nModel: 42", "A film negative: dress", "Steps: a short film"]
)
def test_words_of_products_are_no_settings(tmp_path, text):
    write(tmp_path, text)
    assert captions(read(tmp_path)[0]) == [tuple(text.split("\n"))] * 4


# ---------------------------------------------------------------- numbers

BOXES = {
    "YOLO": "0 0.51{n} 0.48 0.30 0.62\n1 0.2 0.3 0.1 0.4",
    "one number": "{n}",
    "embedding": "[0.1, 2e-05, {n}, nan]",
    "KITTI": "Dress 0.00 0 -1.57 599.41 156.40 629.75 189.25 {n}",
    "DOTA": "12.0 14.0 90.5 14.0 90.5 80.0 12.0 80.0 dress {n}",
}


@pytest.mark.parametrize("case", BOXES)
def test_texts_of_numbers_are_asked_about(tmp_path, case):
    write(tmp_path / "dress", BOXES[case])
    reader, samples, _ = read_all(tmp_path)
    assert captions(samples) == [("a photo of dress",)] * 4
    assert "4 of 4 texts of images hold numbers and no words, such as p0.txt" in facts(reader, True)


def test_texts_of_numbers_are_captions_where_the_recipe_says_so(tmp_path):
    write(tmp_path, "{n}")
    reader, samples, _ = read_all(tmp_path, sidecar="lines")
    assert captions(samples) == [(str(n),) for n in range(4)] and not facts(reader)


def test_a_number_among_captions_is_a_bad_row(tmp_path):
    write(tmp_path / "dress", "red dress {n}")
    put(tmp_path / "dress" / "p1.txt", "12")
    samples, (rejected,) = read(tmp_path)
    assert len(samples) == 3 and "p1.txt holds numbers only" in rejected.reason.text


@pytest.mark.parametrize("text", ["裙", "dress 38 40 42 44", "size 0.5 0.7 x", "z", "1girl, solo"])
def test_words_with_numbers_are_captions(text):
    assert not is_wordless(text)


# ---------------------------------------------------------------- letters

MIXED = {
    "cp1251 and cp1252": ("Красное платье с рукавами {n}", "cp1251", "Übergröße crème brûlée {n}"),
    "koi8-r and cp1252": (
        "Красное платье с рукавами {n}",
        "koi8-r",
        "Größe für schöne Mädchen {n}",
    ),
    "cp1253 and cp1252": (
        "Κόκκινο φόρεμα με μανίκια {n}",
        "cp1253",
        "Größe für schöne Mädchen {n}",
    ),
}


@pytest.mark.parametrize("case", MIXED)
def test_texts_of_several_encodings_are_refused(tmp_path, case):
    text, encoding, other = MIXED[case]
    write(tmp_path / "a", text, encoding=encoding, count=8)
    write(tmp_path / "b", other, encoding="cp1252", count=8)
    reader, *_ = read_all(tmp_path)
    assert "do not look right in" in facts(reader, True)


@pytest.mark.parametrize("text", ["T恤", "XL码", "Übergröße", "платье Zara", "Été", "VIP-платье"])
def test_good_letters(text):
    assert not has_bad_letters(text)


@pytest.mark.parametrize("text", ["ЬbergrцЯe", "Êðàñíîå ïëàòüå", "Gr鲞e", "╩Ёрёэюх", "caf\ufffd"])
def test_bad_letters(text):
    assert has_bad_letters(text)


# ---------------------------------------------------------------- tags

TAGS = ["1girl, red dress {n}", "1girl\nred dress {n}\n", "1girl red_dress_{n}"]


@pytest.mark.parametrize("text", TAGS)
@pytest.mark.parametrize("name", ["p{n}.tags", "p{n}.jpg.tags"])
def test_tags_are_one_caption(tmp_path, text, name):
    write(tmp_path, text, name)
    reader, samples, _ = read_all(tmp_path)
    assert captions(samples) == [(f"1girl, red dress {n}",) for n in range(4)]
    assert not facts(reader)


@pytest.mark.parametrize("text", ["1girl\nred_dress\nsolo {n}", "dress: 0.98\nred: 0.77\nhat: 0.5"])
def test_tags_a_line_are_asked_about(tmp_path, text):
    write(tmp_path, text)
    reader, samples, _ = read_all(tmp_path)
    assert len(samples[0].captions) == 3 and "4 texts look like tags" in facts(reader, True)
    reader, samples, _ = read_all(tmp_path, sidecar="text")
    assert len(samples[0].captions) == 1 and not facts(reader)


def test_a_text_wins_over_tags(tmp_path):
    write(tmp_path, "red dress {n}")
    write(tmp_path, "1girl, solo", "p{n}.tags")
    reader, samples, _ = read_all(tmp_path)
    assert captions(samples) == DRESSES and not facts(reader)
    samples, _ = read(tmp_path, sidecar_ending="tags")
    assert captions(samples) == [("1girl, solo",)] * 4


# ---------------------------------------------------------------- JSON

NESTED = {
    "product.title": {"product": {"title": "red dress 1", "sku": "S1"}, "crawled": "2024"},
    "data.product.name": {"data": {"product": {"name": "red dress 1", "sku": "S1"}}},
    "products.caption": {"products": [{"caption": "red dress 1", "sku": "S1"}], "price": 3},
    "item.title": {"brand": {"name": "Zara"}, "item": {"title": "red dress 1", "sku": "S1"}},
}


@pytest.mark.parametrize("place", NESTED)
def test_a_caption_may_stand_in_an_object_within(tmp_path, place):
    put(tmp_path / "dress" / "a.jpg")
    put(tmp_path / "dress" / "a.json", json.dumps(NESTED[place]))
    reader, (sample,), _ = read_all(tmp_path)
    assert sample.captions == ("red dress 1",) and sample.id == "S1" and sample.product is None
    assert reader.decisions() == {"captions of .json files": place} and not facts(reader)


BOORU = [
    {"tag_string": "dress red_shoes solo", "uploader": {"name": "bob"}},
    {"tags": ["dress", "red_shoes", "solo"], "rating": "g"},
    {"tags": {"general": ["dress", "red_shoes"], "meta": ["solo"]}},
]


@pytest.mark.parametrize("cells", BOORU)
def test_tags_of_a_json_are_the_caption(tmp_path, cells):
    put(tmp_path / "booru" / "a.jpg")
    put(tmp_path / "booru" / "a.jpg.json", json.dumps(cells))
    reader, (sample,), _ = read_all(tmp_path)
    assert sample.captions == ("dress, red shoes, solo",) and not facts(reader)


UNCLEAR = {
    "two objects": {"product": {"title": "red dress"}, "seo": {"title": "buy now"}},
    "LabelMe": {"shapes": [{"label": "dress"}, {"label": "hat"}], "imageHeight": 3},
    "attributes alone": {"price": 3},
}


@pytest.mark.parametrize("case", UNCLEAR)
def test_a_json_without_a_caption_is_asked_about(tmp_path, case):
    put(tmp_path / "dress" / "a.jpg")
    put(tmp_path / "dress" / "a.json", json.dumps(UNCLEAR[case]))
    reader, (sample,), _ = read_all(tmp_path)
    assert sample.captions == ("a photo of dress",)
    assert "1 .json files beside images hold no caption that is found" in facts(reader, True)
    assert not facts(read_all(tmp_path, caption="a photo of {class}")[0])


def test_the_recipe_says_where_a_caption_stands(tmp_path):
    put(tmp_path / "dress" / "a.jpg")
    put(tmp_path / "dress" / "a.json", json.dumps(UNCLEAR["two objects"]))
    reader, (sample,), _ = read_all(tmp_path, columns={"caption": "seo.title"})
    assert sample.captions == ("buy now",) and not facts(reader)
