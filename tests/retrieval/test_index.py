"""What every kind of index keeps to, whoever wrote it."""

import numpy as np
import pytest

from unidiff_cli import registry

KINDS = registry.names("indexes")
EXACT = [kind for kind in KINDS if registry.load("indexes", kind).exact]


def unit(rows):
    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def embeddings():
    return unit(np.random.default_rng(0).normal(size=(500, 16)))


def built(kind, embeddings):
    index = registry.load("indexes", kind)()
    index.build(embeddings)
    return index


@pytest.mark.parametrize("kind", KINDS)
def test_the_nearest_of_a_stored_embedding_is_itself(kind, embeddings):
    index = built(kind, embeddings)
    for row in (0, 17, 499):
        rows, scores = index.search(embeddings[row], 1)
        assert rows.tolist() == [row] and scores[0] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_cosines_and_fall(kind, embeddings):
    query = unit(np.ones(16))
    rows, scores = built(kind, embeddings).search(query, 20)
    assert len(rows) == len(set(rows.tolist())) == 20
    assert (np.diff(scores) <= 0).all()
    assert np.allclose(scores, embeddings[rows] @ query, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_scores_stand_in_the_order_of_their_rows(kind):
    embeddings = unit([[1, 0], [0, 1], [1, 0], [0.6, 0.8], [1, 0]])
    rows, scores = built(kind, embeddings).search(unit([1, 0]), 4)
    assert rows.tolist() == [0, 2, 4, 3] and scores.tolist() == pytest.approx([1, 1, 1, 0.6])


@pytest.mark.parametrize("kind", KINDS)
def test_a_k_above_the_number_of_rows_gives_all_of_them(kind):
    index = built(kind, unit([[1, 0], [0, 1], [1, 0], [0.6, 0.8]]))
    assert index.search(unit([1, 0]), 99).rows.tolist() == [0, 2, 3, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_of_nothing_finds_nothing(kind):
    rows, scores = built(kind, np.zeros((0, 16), np.float32)).search(unit(np.ones(16)), 3)
    assert len(rows) == len(scores) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_answers_alike_when_it_is_opened(kind, embeddings, tmp_path):
    folder = tmp_path / "index"
    folder.mkdir()
    index = built(kind, embeddings)
    index.save(folder)
    assert list(tmp_path.iterdir()) == [folder]
    opened = registry.load("indexes", kind)()
    opened.open(folder)
    for query in unit(np.random.default_rng(1).normal(size=(5, 16))):
        for before, after in zip(index.search(query, 10), opened.search(query, 10), strict=True):
            assert np.array_equal(before, after)


@pytest.mark.parametrize("kind", EXACT)
def test_an_exact_kind_equals_a_comparison_with_every_embedding(kind, embeddings):
    index = built(kind, embeddings)
    for query in unit(np.random.default_rng(2).normal(size=(20, 16))):
        scores = embeddings @ query
        expected = np.argsort(-scores, kind="stable")[:7]
        rows, found_scores = index.search(query, 7)
        assert rows.tolist() == expected.tolist()
        assert np.array_equal(found_scores, scores[expected])


@pytest.mark.parametrize("kind", EXACT)
def test_equal_scores_at_the_end_of_the_answer_are_cut_by_their_row(kind):
    embeddings = unit([[0.6, 0.8]] * 50 + [[1, 0]])
    assert built(kind, embeddings).search(unit([1, 0]), 4).rows.tolist() == [50, 0, 1, 2]
