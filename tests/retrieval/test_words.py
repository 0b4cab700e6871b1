"""Full text: names and SKUs are found by their words, and what no image is called is said."""

from types import SimpleNamespace

import numpy as np
import pytest

from unidiff_cli.errors import Damaged
from unidiff_cli.retrieval.words import FILE, Words, words_of, write_words

ROWS = [
    ("a red dress", "SKU-17", {"name": "Juno"}),
    ("a red hat", "SKU-18", {"name": "Ötzi", "text": "red " * 40}),
    ("a blue dress", "SKU-19", {"tags": ["summer", "linen"], "price": 17}),
    ("ein Kleid", "SKU-20", {"name": "Juno"}),
]


@pytest.fixture
def words(tmp_path):
    rows = [SimpleNamespace(captions=(c,), group=g, attributes=a) for c, g, a in ROWS]
    write_words(tmp_path, rows)
    return Words.open(tmp_path)


def found(words, text, allowed=None, groups=None):
    """The matches of a text, each row a product of its own."""
    return words.search(text, np.arange(1000) if groups is None else groups, allowed)


def rows(matches):
    return matches.rows.tolist()


def test_who_holds_more_and_rarer_words_comes_first(words):
    assert rows(found(words, "red dress"))[0] == 0
    assert set(rows(found(words, "red dress"))) == {0, 1, 2}
    scores = found(words, "red dress").scores
    assert (np.diff(scores) <= 0).all() and (scores > 0).all()


def test_products_names_and_lists_are_words_in_any_case_and_without_marks(words):
    assert rows(found(words, "sku-19"))[0] == 2
    assert sorted(rows(found(words, "JUNO"))) == [0, 3]
    assert rows(found(words, "otzi")) == rows(found(words, "ötzi")) == [1]
    assert rows(found(words, "linen")) == [2]


def test_numbers_and_descriptions_are_no_words(words):
    assert rows(found(words, "17")) == [0]
    assert found(words, "red").scores[0] == pytest.approx(found(words, "red").scores[1], rel=0.3)


def test_words_that_many_images_have_are_left_to_the_model(tmp_path):
    captions = [
        f"a red {'dress' if n % 2 else 'hat'} {'Juno' if n % 30 == 0 else ''}" for n in range(90)
    ]
    write_words(
        tmp_path,
        [
            SimpleNamespace(captions=(c,), group=str(n), attributes={})
            for n, c in enumerate(captions)
        ],
    )
    words = Words.open(tmp_path)
    assert rows(found(words, "red dress", groups=np.arange(90))) == []
    # All that hold it are equal, so that the cosine orders them.
    matches = found(words, "a red Juno dress", groups=np.arange(90))
    assert rows(matches) == [0, 30, 60] and len(set(matches.scores)) == 1
    rare = words.rare("red juno 7", np.arange(90))
    assert {word: each.tolist() for word, each in rare.items()} == {
        "juno": [0, 30, 60],
        "7": [7],
    }


def test_a_word_is_as_rare_as_the_products_that_have_it(tmp_path):
    """However many images a product has."""
    rows_of = [SimpleNamespace(captions=("Juno",), group="1", attributes={}) for _ in range(60)]
    write_words(tmp_path, rows_of)
    words = Words.open(tmp_path)
    assert len(found(words, "juno", groups=np.zeros(60, int)).rows) == 60
    assert len(found(words, "juno", groups=np.arange(60) // 12).rows) == 60
    assert len(found(words, "juno", groups=np.arange(60) // 5).rows) == 0


def test_only_allowed_rows_are_found(words):
    assert rows(found(words, "dress", np.array([False, True, True, True]))) == [2]


@pytest.mark.parametrize("text", ["", "…", '"', "NOT AND", "a* OR (b", "x" * 5000, "漢字", "red\0"])
def test_any_text_is_a_query(words, text):
    assert len(found(words, text).rows) <= 4
    words.missing(text)


def test_a_long_text_is_read_as_far_as_a_model_would(words):
    assert len(words_of(" ".join(map(str, range(1000))))) == 64
    assert rows(found(words, " ".join(["red", *map(str, range(1000, 2000))])))[:2] == [0, 1]


def test_words_of_no_image_are_named_with_the_nearest(words):
    assert words.missing("a red bicycle for Juno") == [
        "No caption and no attribute has the word 'bicycle'."
    ]
    assert words.missing("drees") == [
        "No caption and no attribute has the word 'drees'. Did you mean 'dress'?"
    ]
    assert words.missing("漢字漢字漢字 for") == []


def test_an_empty_catalogue_has_no_words(tmp_path):
    write_words(tmp_path, [])
    assert rows(found(Words.open(tmp_path), "red")) == []


@pytest.mark.parametrize("size", [0, 100, 5000])
def test_a_damaged_file_is_named(words, tmp_path, size):
    file = tmp_path / FILE
    file.write_bytes(b"\xff" * size)
    with pytest.raises(Damaged, match="unidiff index --force"):
        found(Words.open(tmp_path), "red")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(Damaged, match="unidiff index --force"):
        Words.open(tmp_path)


def test_the_file_is_the_same_for_the_same_rows(words, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    write_words(other, [SimpleNamespace(captions=(c,), group=g, attributes=a) for c, g, a in ROWS])
    assert (other / FILE).read_bytes() == (tmp_path / FILE).read_bytes()
