"""NDCG@10: graded relevance by what an image shares with the query."""

import numpy as np
import pytest

from tests.support.evaluation import GivenOutputs, eval_set_of, rows_of, unit
from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation.metrics.ndcg import Ndcg, grades_of, ndcg

PRODUCTS = ["a", "a", "a", "b", "c", "d", "e"]
COLOURS = ["red", "red", "blue", "red", "blue", "red", None]
KINDS = ["hat", "hat", "hat", "hat", "hat", "bag", "hat"]


def rows(groups, colours=(), kinds=()):
    """A row an image, of these products."""
    cells = [
        {**({"color": colours[n]} if colours else {}), **({"category": kinds[n]} if kinds else {})}
        for n in range(len(groups))
    ]
    made = rows_of(*(f"thing {n}" for n in range(len(groups))), attributes=cells)
    for row, group in zip(made, groups, strict=True):
        row.group = group
    return made


def test_by_hand_grades_are_what_an_answer_shares():
    labels = {"product": PRODUCTS, "colour": COLOURS, "kind": KINDS}
    assert grades_of([0], labels).tolist() == [4, 4, 3, 2, 1, 0, 1]
    assert grades_of([6], labels).tolist() == [1, 1, 1, 1, 1, 0, 3]
    without = {"product": PRODUCTS, "kind": KINDS}
    assert grades_of([0], without).tolist() == [2, 2, 2, 1, 1, 0, 1]


def test_a_caption_of_several_rows_asks_as_any_of_them():
    labels = {"product": PRODUCTS, "colour": COLOURS, "kind": KINDS}
    assert grades_of([0, 5], labels).tolist() == [4, 4, 3, 2, 1, 4, 1]


def test_by_hand_the_gain_is_discounted_by_place():
    gain = ndcg(np.array([0.9, 0.8, 0.7]), np.array([1.0, 0.0, 2.0]))
    assert gain == pytest.approx((1 + 2 / 2) / (2 + 1 / np.log2(3)))
    assert ndcg(np.array([0.9, 0.8, 0.7]), np.array([2.0, 1.0, 0.0])) == 1
    assert ndcg(np.array([0.9, 0.8]), np.zeros(2)) == 0


def test_it_is_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    g = np.random.default_rng(0)
    for _ in range(20):
        scores, grades = g.permutation(30) / 30, g.integers(0, 5, 30).astype(float)
        assert ndcg(scores, grades) == pytest.approx(metrics.ndcg_score([grades], [scores], k=10))


def test_ties_and_what_is_no_number_count_against_the_model():
    grades = np.array([1.0, 0.0, 0.0])
    assert ndcg(np.array([0.5, 0.5, 0.5]), grades, k=1) == 0
    assert ndcg(np.array([np.nan, 0.5, 0.1]), grades, k=2) == 0


def test_a_model_of_products_colours_and_kinds_is_perfect():
    products = [f"p{n // 2}" for n in range(40)]
    colours = [("red", "blue")[n // 2 % 2] for n in range(40)]
    kinds = ["hat"] * 20 + ["bag"] * 20
    embeds = np.array(
        [[8.0 * (k == "hat"), 8.0 * (k == "bag"), 4.0 * (c == "red"), 4.0 * (c == "blue"),
          *(2.0 * (p == f"p{n}") for n in range(20))]
         for p, c, k in zip(products, colours, kinds, strict=True)]
    )  # fmt: skip
    items = rows(products, colours, kinds)
    outputs = GivenOutputs(
        eval_set_of(items), {"image_embeds": unit(embeds), "text_embeds": unit(embeds)}
    )
    figures = Ndcg().compute(outputs)
    assert figures == {"ndcg_t2i": pytest.approx(1), "ndcg_i2i": pytest.approx(1)}
    assert Ndcg().notes(outputs) == [
        "Grades of relevance: 1 the same kind, 2 the same kind and colour, 3 the same product, "
        "4 the same product and colour."
    ]


def test_without_a_column_of_kinds_it_is_refused():
    with pytest.raises(WorkError, match="No column names kinds"):
        Ndcg().check(eval_set_of(rows(["a", "a", "b"])))
    Ndcg().check(eval_set_of(rows(list("abcdefghij"), kinds=["hat", "bag"] * 5)))
