"""Re-ranking: CLIP's first answers in another order, and nothing else of the list changes."""

import numpy as np
import pytest

from tests.support.evaluation import GivenOutputs, eval_set_of, normal, rows_of, unit
from unidiff_cli.evaluation.measure import choose_metrics
from unidiff_cli.evaluation.metrics.recall import Recall
from unidiff_cli.evaluation.metrics.rerank import LIST, Rerank, rescorer
from unidiff_cli.evaluation.ranking import rank_answers

COUNT = 80


def outputs(images, texts, base=None):
    rows = rows_of(*(f"thing {n}" for n in range(len(images))))
    made = GivenOutputs(eval_set_of(rows), {"image_embeds": images, "text_embeds": texts})
    made.base_outputs = base
    return made


def noisy(noise):
    """A CLIP whose images are their captions and so much noise."""
    texts = unit(normal(COUNT, 32))
    return outputs(unit(texts + noise * unit(normal(COUNT, 32, seed=1))), texts)


@pytest.fixture
def base():
    return noisy(1.5)


def test_by_hand_the_first_two_change_places_and_the_third_stays():
    scores = np.array([[0.9, 0.8, 0.7, 0.1]])
    order = rank_answers(
        scores, np.eye(4), np.array([[0, 1]]), top=2, rescore=lambda q, best, given: -given
    )
    assert order.top.tolist() == [[1, 0]] and order.rank.tolist() == [0]
    behind = rank_answers(
        scores, np.eye(4), np.array([[0, 2]]), top=2, rescore=lambda q, best, given: -given
    )
    assert behind.rank.tolist() == [2] and behind.average_precision.tolist() == [1 / 3]


def test_equal_new_scores_count_against_the_model():
    level = rank_answers(
        np.array([[0.9, 0.8, 0.7]]),
        np.eye(3),
        np.array([[0, 0]]),
        top=2,
        rescore=lambda q, best, given: np.zeros(2),
    )
    assert level.rank.tolist() == [1]


def test_the_bases_own_figures_are_its_list_as_it_is(base):
    plain, figures = Recall().compute(base), Rerank().compute(base)
    for way in ("t2i", "i2t"):
        for figure in ("r1", "map"):
            for kind in ("rerank", "fused"):
                assert figures[f"{kind}_{figure}_{way}"] == pytest.approx(plain[f"{figure}_{way}"])


def test_a_perfect_encoder_puts_first_what_the_list_holds_and_nothing_else():
    base = noisy(12)
    texts = base.text_embeds
    figures = Rerank().compute(outputs(texts, texts, base))
    order = np.argsort(-(texts @ base.image_embeds.T), axis=1)[:, :LIST]
    held = np.mean([n in row for n, row in enumerate(order)])
    assert 0.5 < held < 1, "some right answers lie behind the list"
    assert figures["rerank_r1_t2i"] == pytest.approx(held)
    assert figures["rerank_map_t2i"] < 1


def test_an_encoder_by_chance_makes_the_list_worse_and_the_sum_less_so(base):
    control = Rerank().compute(base)
    figures = Rerank().compute(outputs(unit(normal(COUNT, 32, seed=9)), base.text_embeds, base))
    for way in ("t2i", "i2t"):
        least, between, most = (
            figures[f"rerank_map_{way}"],
            figures[f"fused_map_{way}"],
            control[f"rerank_map_{way}"],
        )
        assert least < between < most


def test_both_scores_are_of_the_same_spread_by_hand():
    clip, own = np.array([0.9, 0.8, 0.1]), np.array([[0.0, 0.5, 0.6]])
    best = np.array([0, 1, 2])
    fused = rescorer(own, np.eye(3), fuse=True)(0, best, clip)
    expected = (clip - 0.6) / clip.std() + (own[0] - own.mean()) / own.std()
    assert fused == pytest.approx(expected)
    assert rescorer(own, np.eye(3), fuse=False)(0, best, clip).tolist() == own[0].tolist()


def test_an_embedding_that_is_no_number_is_the_worst():
    answers = np.array([[np.nan, 0.0], [1.0, 0.0], [0.0, 1.0]])
    for fuse in (False, True):
        scores = rescorer(np.array([[1.0, 0.0]]), answers, fuse)(0, np.arange(3), np.zeros(3))
        assert np.isfinite(scores).all() and scores.argmax() == 1 and scores.argmin() == 0


def test_a_list_of_all_answers_is_said_to_be_no_list():
    small = outputs(unit(normal(20)), unit(normal(20)))
    assert "no choice of CLIP's" in Rerank().notes(small)[1]
    large = outputs(unit(normal(COUNT)), unit(normal(COUNT)))
    assert len(Rerank().notes(large)) == 1


def test_it_is_measured_where_it_is_named(base):
    assert "rerank" in choose_metrics([base.eval_set])[1]
    assert "rerank" in choose_metrics([base.eval_set], ["rerank_map_t2i"])[0]
