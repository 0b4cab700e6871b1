"""Ranks, average precision and recall, by hand and in blocks as in one piece."""

import tracemalloc

import numpy as np
import pytest

from tests.support.evaluation import GivenOutputs, eval_set_of, normal, rows_of, unit
from unidiff_cli.data.captions import same_text
from unidiff_cli.evaluation import statistics
from unidiff_cli.evaluation.metrics.recall import (
    KS,
    Recall,
    mean_by_label,
    recall_both_ways,
)
from unidiff_cli.evaluation.ranking import (
    NEVER,
    chance_precision,
    chance_recall,
    hits,
    median_rank,
    rank_answers,
)

# Three queries over four answers, whose vectors are the axes.
SCORES = np.array([[0.9, 0.1, 0.2, 0.3], [0.8, 0.2, 0.5, 0.1], [0.9, 0.8, 0.7, 0.6]])
# The right answers: 0 → {0}, 1 → {1, 2}, 2 → {3}.
PAIRS = np.array([[0, 0], [1, 1], [1, 2], [2, 3]])


def rank(scores, pairs=PAIRS):
    """The ranks of queries with these scores of every answer."""
    return rank_answers(np.asarray(scores, float), np.eye(np.shape(scores)[1]), pairs).rank


# ---------------------------------------------------------------- ranks


def test_a_query_that_is_an_answer_comes_last():
    """Whatever its own score is, and in blocks too."""
    x = unit(normal(9, 4))
    pairs = np.array([[0, 3], [1, 5], [8, 2]])
    queries = np.array([0, 1, 8])
    by_hand = []
    for (_, right), own in zip(pairs, queries, strict=True):
        scores = x @ x[own]
        others = [a for a in range(9) if a not in (own, right)]
        by_hand.append(sum(scores[a] >= scores[right] for a in others))
    for block in (1, 2**24):
        found = rank_answers(
            x[queries], x, np.array([[0, 3], [1, 5], [2, 2]]), top=9, block=block, itself=queries
        )
        assert found.rank.tolist() == by_hand
        assert found.top[:, -1].tolist() == queries.tolist()


def test_ranks_by_hand():
    # First, behind one wrong answer, behind three.
    assert rank(SCORES).tolist() == [0, 1, 3]
    shares = [hits(rank(SCORES), k).mean() for k in (1, 2, 4)]
    assert shares == pytest.approx([1 / 3, 2 / 3, 1.0])


def test_ties_count_against_the_model():
    # Query 1 has two wrong answers and two right ones.
    assert rank(np.ones((3, 4))).tolist() == [3, 2, 3]


def test_a_tie_among_right_answers_does_not_count():
    assert rank([[0.5, 0.5, 0.1]], np.array([[0, 0], [0, 1]])).tolist() == [0]


def test_scores_that_are_not_numbers_give_no_hit():
    assert (rank(np.full((3, 4), np.nan)) > 0).all()


def test_a_query_without_a_right_answer_has_no_hit():
    assert not hits(rank(np.ones((1, 2)), np.zeros((0, 2), int)), 10).any()


def test_rounding_of_float32_gives_no_hit():
    rng = np.random.default_rng(0)
    collapsed = 0.7 + 1e-8 * rng.random((8, 8))
    assert (rank(collapsed, np.stack([np.arange(8)] * 2, axis=1)) == 7).all()


def test_average_precision_by_hand():
    queries = np.eye(3, 4)
    answers = np.array([[0.9, 0.8, 0.1], [0.7, 0.8, 0.1], [0.5, 0.6, 0.1], [0.1, 0.1, 0.1]])
    answers = np.hstack([answers, np.zeros((4, 1))])
    # A pair that stands twice is one; query 2 has no right answer.
    pairs = np.array([[0, 0], [0, 2], [1, 0], [1, 0]])
    ranking = rank_answers(queries, answers, pairs)
    assert ranking.rank.tolist() == [0, 1, NEVER] and ranking.right_count.tolist() == [2, 1, 0]
    # Query 0: places 1 and 3, (1/1 + 2/3)/2. Query 1: a wrong answer ties and comes first.
    assert ranking.average_precision == pytest.approx([5 / 6, 1 / 2, 0])
    assert hits(ranking.rank, 1).tolist() == [1, 0, 0]


def test_average_precision_of_ties_among_several_right_answers():
    queries, answers = np.ones((1, 1)), np.array([[0.5], [0.5], [0.5], [0.9], [0.1]])
    ranking = rank_answers(queries, answers, np.array([[0, 0], [0, 1], [0, 4]]))
    # Wrong 3 first, then wrong 2 of the level, then right 0 and 1, then right 4.
    assert ranking.rank[0] == 2
    assert ranking.average_precision[0] == pytest.approx((1 / 3 + 2 / 4 + 3 / 5) / 3)


def test_median_rank_by_hand():
    assert median_rank(np.array([0, 1, NEVER])) == 2
    assert median_rank(np.array([0, 1, NEVER]), np.array([3, 1, 1])) == 1
    assert median_rank(np.array([0, 1, 4, 9])) == (2 + 5) / 2
    assert median_rank(np.array([0, NEVER, NEVER])) == np.inf


def dense_scores(queries, answers, pairs):
    """The whole matrix of rounded scores, and which answers are right."""
    relevant = np.zeros((len(queries), len(answers)), bool)
    relevant[pairs[:, 0], pairs[:, 1]] = True
    return np.round(queries @ answers.T, 6), relevant


def dense_ranks(scores, relevant):
    """The definition: wrong answers that score as much as the best right one, or more."""
    scores = np.where(np.isfinite(scores), scores, -np.inf)
    best = np.where(relevant, scores, -np.inf).max(axis=1, keepdims=True)
    return np.where(relevant.any(axis=1), ((scores >= best) & ~relevant).sum(axis=1), NEVER)


@pytest.mark.parametrize("block", [1, 100, 2**24])
def test_ranks_in_blocks_are_those_of_the_whole_matrix(block):
    rng = np.random.default_rng(1)
    # Multiples of 1/16: their products are exact, whatever the order in which BLAS adds them.
    queries, answers = (rng.integers(-16, 17, (n, 8)).astype(np.float32) / 16 for n in (40, 90))
    # Copies: exact ties.
    answers[50:60] = answers[:10]
    pairs = np.stack([rng.integers(0, 40, 150), rng.integers(0, 90, 150)], axis=1)
    # And a query with many right answers.
    pairs = np.concatenate([pairs, [[3, n] for n in range(0, 90, 2)]])
    ranking = rank_answers(queries, answers, pairs, top=7, block=block)
    scores, relevant = dense_scores(queries, answers, pairs)
    assert (ranking.rank == dense_ranks(scores, relevant)).all()
    assert (ranking.right_count == relevant.sum(axis=1)).all()
    raw = queries @ answers.T
    assert (np.take_along_axis(raw, ranking.top, 1) == -np.sort(-raw, axis=1)[:, :7]).all()
    for q in range(40):
        # Average precision by the definition: wrong before right where equal.
        right = relevant[q][np.lexsort((relevant[q], -scores[q]))]
        places = np.flatnonzero(right) + 1
        expected = (np.cumsum(right)[right] / places).mean() if right.any() else 0
        assert ranking.average_precision[q] == pytest.approx(expected)


def test_ranks_of_embeddings_that_are_not_numbers():
    queries, answers = unit(normal(4, 8)), unit(normal(6, 8, seed=1))
    queries[0, 0], answers[5, 0] = np.nan, np.inf
    pairs = np.array([[q, q] for q in range(4)])
    expected = dense_ranks(*dense_scores(queries, answers, pairs))
    assert (rank_answers(queries, answers, pairs).rank == expected).all()


def test_a_pair_outside_the_arrays_is_refused():
    with pytest.raises(ValueError, match="among 4 and 6"):
        rank_answers(normal(4, 8), normal(6, 8), np.array([[0, 6]]))


def test_memory_of_ranking_is_that_of_the_block():
    queries, answers = unit(normal(3000, 8)), unit(normal(3000, 8, seed=1))
    pairs = np.stack([np.arange(3000)] * 2, axis=1)
    tracemalloc.start()
    rank_answers(queries, answers, pairs, top=5, block=2**17)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The whole matrix is 36 MB.
    assert peak < 4 * 2**20


# ---------------------------------------------------------------- recall and chance


def test_chance_recall_is_that_of_a_random_order():
    right = np.array([1, 2, 1])
    # C(4-1, 2)/C(4, 2) = 3/6 missed with one right answer, C(2, 2)/C(4, 2) = 1/6 with two.
    assert chance_recall(right, 4, (2,)) == pytest.approx({2: (0.5 + 5 / 6 + 0.5) / 3})
    assert chance_recall(right, 4, (10,)) == {10: 1.0}
    rng = np.random.default_rng(0)
    sampled = np.mean([hits(rank(rng.random((3, 4))), 1).mean() for _ in range(2000)])
    assert sampled == pytest.approx(chance_recall(right, 4, (1,))[1], abs=0.02)


def test_chance_precision_by_hand():
    # One right of two: 1 or 1/2. Two right of three: places 12, 13, 23.
    assert chance_precision(np.array([1]), 2) == pytest.approx(3 / 4)
    assert chance_precision(np.array([2]), 3) == pytest.approx((1 + 5 / 6 + 7 / 12) / 3)
    assert chance_precision(np.array([0, 1]), 1) == 0.5


def test_shuffled_captions_are_at_chance():
    n, rng = 400, np.random.default_rng(0)
    texts = unit(normal(n, 32))
    pairs = np.stack([np.arange(n), rng.permutation(n)], axis=1)
    ranking = rank_answers(texts, texts, pairs)
    chance = chance_recall(ranking.right_count, n, KS)
    for k in KS:
        interval = statistics.wilson(int(hits(ranking.rank, k).sum()), n)
        assert interval.low <= chance[k] <= interval.high
    expected = chance_precision(ranking.right_count, n)
    assert ranking.average_precision.mean() == pytest.approx(expected, abs=0.01)
    assert median_rank(ranking.rank) == pytest.approx(n / 2, rel=0.15)


def test_equal_captions_are_hits_both_ways():
    texts = np.eye(3, dtype=np.float32)
    # The first two images lie on each other's captions, which are equal.
    images = texts[[1, 0, 2]]
    assert same_text("Red  dress ") == same_text("red dress")
    recall = recall_both_ways(images, texts, ["Red  dress", "red dress", "blue hat"])
    assert recall["r1_t2i"] == 1.0
    # The list has "red dress" once, by its first vector, and image 0 lies on the second.
    assert recall["r1_i2t"] == pytest.approx(2 / 3)
    measures = ("r1", "r5", "r10", "map")
    assert set(recall) == {f"{measure}_{way}" for measure in measures for way in ("t2i", "i2t")}


def test_means_by_label():
    labels, groups = ["red", "red", None, "blue"], ["a", "a", "b", "c"]
    means = mean_by_label(np.array([1, 0, 1, 1]), labels, groups)
    assert list(means) == ["red", "blue"]
    assert means["red"].value == 0.5
    assert means["red"].items == 2 and means["red"].groups == 1


@pytest.fixture
def several_captions():
    """Outputs of three rows, two of which share a caption."""
    eval_set = eval_set_of(rows_of(("a", "b"), "B", "c"))
    texts = np.array([[0.9, 0, 0], [0.1, 0.2, 0.9], [0, 0, 0.95]])
    return GivenOutputs(eval_set, {"text_embeds": texts, "image_embeds": np.eye(3)})


def test_recall_of_rows_with_several_captions(several_captions):
    figures = Recall().compute(several_captions)
    assert set(figures) == set(Recall.figures)
    # a: hit; b, a query for each of its two rows: missed; c: hit.
    assert figures["r1_t2i"] == 0.5
    assert figures["r1_i2t"] == pytest.approx(1.0) and figures["medr_i2t"] == 1
    assert figures["map_t2i"] == pytest.approx((1 + 2 * (1 / 2 + 2 / 3) / 2 + 1) / 4)


def test_recall_is_the_mean_of_its_items(several_captions):
    figures = Recall().compute(several_captions)
    items = Recall().per_item(several_captions)
    assert set(items) == {key for key in figures if not key.startswith("medr")}
    for key, each in items.items():
        assert np.average(each.values, weights=each.weights) == pytest.approx(figures[key])


def test_recall_warns_of_few_captions(several_captions):
    assert Recall().references(several_captions)["chance"]["r10_t2i"] == 1.0
    notes = Recall().notes(several_captions)
    assert any("a random order has R@10 100 %" in note for note in notes)
