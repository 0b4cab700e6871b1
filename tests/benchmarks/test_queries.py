"""The measurements of queries: what they ask, and how they compare."""

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.composed import WAYS, measure, questions
from benchmarks.embedded import Embedded
from benchmarks.no_match import of_images, pieces
from benchmarks.words import measure as measure_words
from benchmarks.words import ways
from tests.support.evaluation import unit
from unidiff_cli.retrieval.words import Words, write_words


class Encoder:
    """Captions as the colours that they name."""

    def embed_captions(self, captions):
        return np.array([[("red" in c), ("blue" in c), 0, 0] for c in captions], float) + 1e-3


@pytest.fixture
def embedded():
    """Two products in two colours: an axis for each colour and each product."""
    cells = [(p, c) for p in ("a", "b") for c in ("red", "blue") for _ in range(2)]
    rows = [
        SimpleNamespace(
            group=p, captions=(f"{p} in {c}",), content=str(n), split="test",
            attributes={"color": c},
        )
        for n, (p, c) in enumerate(cells)
    ]  # fmt: skip
    images = [[c == "red", c == "blue", p == "a", p == "b"] for p, c in cells]
    return Embedded(rows, unit(np.array(images, float) + 1e-3))


def test_the_mean_finds_what_neither_part_finds_alone(embedded):
    asked = questions(embedded, Encoder(), embedded, "in {}")
    assert len(asked.images) == 8 and len(asked.pairs) == 16
    figures = {name: measure(asked, way, 1.0)["R@1"].mean() for name, (way, _) in WAYS.items()}
    assert figures["mean"] == 1 and figures["image alone"] == 0 and figures["text alone"] < 1


def test_the_first_image_and_the_share_of_ten_are_measured():
    scores = np.array([0.1, 0.9, 0.5])
    assert measure_words(scores, np.array([1, 0, 1])) == (0.0, pytest.approx(2 / 3))
    assert measure_words(scores, np.array([0, -1, 1]))[0] == 1


def test_words_come_first_and_the_cosine_decides_among_equals(embedded, tmp_path):
    write_words(tmp_path, embedded.rows)
    query = np.array([0, 1, 0, 0.0])
    codes = np.arange(len(embedded.rows))
    orders = ways(Words.open(tmp_path), codes, embedded.images, "a", query)
    # So few images hold it that it is rare.
    assert sorted(np.argsort(-orders["rare"])[:2]) == [2, 3]
    assert sorted(np.argsort(-orders["first"])[:4]) == [0, 1, 2, 3]
    assert sorted(np.argsort(-orders["first"])[:2]) == [2, 3]
    assert sorted(np.argsort(-orders["cosine"])[:4]) == [2, 3, 6, 7]


def test_a_product_that_is_taken_out_leaves_lower_scores(embedded):
    present, absent = of_images(embedded, "test")
    assert len(present) == 8 and (present > absent).all()
    assert len(of_images(embedded, "val")[0]) == 0


def test_pieces_are_words_that_stand_together():
    captions = ["a red dress with sleeves"] * 20
    assert all(piece in captions[0] and len(piece.split()) <= 3 for piece in pieces(captions))
