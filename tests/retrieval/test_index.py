"""What every kind of index keeps to, whoever wrote it."""

import numpy as np
import pytest

from unidiff_cli import registry
from unidiff_cli.errors import Damaged

KINDS = registry.names("indexes")
EXACT = [kind for kind in KINDS if registry.load("indexes", kind).exact]


def unit(rows):
    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def embeddings():
    return unit(np.random.default_rng(0).normal(size=(500, 16)))


def one(found):
    """The rows and scores of the first query."""
    return found.rows[0], found.scores[0]


def built(kind, embeddings):
    index = registry.load("indexes", kind)()
    index.build(embeddings)
    return index


@pytest.mark.parametrize("kind", KINDS)
def test_the_nearest_of_a_stored_embedding_is_itself(kind, embeddings):
    index = built(kind, embeddings)
    for row in (0, 17, 499):
        rows, scores = one(index.search(embeddings[[row]], 1))
        assert rows.tolist() == [row] and scores[0] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_cosines_and_fall(kind, embeddings):
    query = unit(np.ones(16))
    rows, scores = one(built(kind, embeddings).search(query[None], 20))
    assert len(rows) == len(set(rows.tolist())) == 20
    assert (np.diff(scores) <= 0).all()
    assert np.allclose(scores, embeddings[rows] @ query, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_scores_stand_in_the_order_of_their_rows(kind):
    embeddings = unit([[1, 0], [0, 1], [1, 0], [0.6, 0.8], [1, 0]])
    rows, scores = one(built(kind, embeddings).search(unit([[1, 0]]), 4))
    assert rows.tolist() == [0, 2, 4, 3] and scores.tolist() == pytest.approx([1, 1, 1, 0.6])


@pytest.mark.parametrize("kind", KINDS)
def test_a_k_above_the_number_of_rows_gives_all_of_them(kind):
    index = built(kind, unit([[1, 0], [0, 1], [1, 0], [0.6, 0.8]]))
    assert index.search(unit([[1, 0]]), 99).rows.tolist() == [[0, 2, 3, 1]]


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_of_nothing_finds_nothing(kind):
    found = built(kind, np.zeros((0, 16), np.float32)).search(unit(np.ones((2, 16))), 3)
    assert found.rows.shape == found.scores.shape == (2, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_answers_alike_when_it_is_opened(kind, embeddings, tmp_path):
    folder = tmp_path / "index"
    folder.mkdir()
    index = built(kind, embeddings)
    index.save(folder)
    assert list(tmp_path.iterdir()) == [folder]
    opened = registry.load("indexes", kind)()
    opened.open(folder)
    queries = unit(np.random.default_rng(1).normal(size=(5, 16)))
    for before, after in zip(index.search(queries, 10), opened.search(queries, 10), strict=True):
        assert np.array_equal(before, after)
    assert np.array_equal(opened.embeddings(np.array([3, 1])), embeddings[[3, 1]])


@pytest.mark.parametrize("kind", KINDS)
def test_only_allowed_rows_are_found(kind, embeddings):
    queries = unit(np.random.default_rng(4).normal(size=(9, 16)))
    index = built(kind, embeddings)
    for share in (0.0, 0.004, 0.05, 0.5, 1.0):
        allowed = np.random.default_rng(5).random(500) < share
        expected = np.argsort(-np.where(allowed, queries @ embeddings.T, -2), axis=1)
        for asked in (queries, queries[:1]):
            found = index.search(asked, 12, allowed)
            k = min(12, int(allowed.sum()))
            assert found.rows.shape == (len(asked), k)
            assert found.rows.tolist() == expected[: len(asked), :k].tolist()


@pytest.mark.parametrize("kind", EXACT)
@pytest.mark.parametrize("queries", [1, 2, 16, 300])
def test_an_exact_kind_equals_a_comparison_with_every_embedding(
    kind, embeddings, queries, monkeypatch
):
    # So that a search of 500 rows has several blocks.
    monkeypatch.setattr("unidiff_cli.retrieval.exact.LEAST", 64)
    monkeypatch.setattr("unidiff_cli.retrieval.exact.MOST", 64)
    asked = unit(np.random.default_rng(2).normal(size=(queries, 16)))
    scores = asked @ embeddings.T
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :7]
    found = built(kind, embeddings).search(asked, 7)
    assert found.rows.tolist() == expected.tolist()
    assert np.allclose(found.scores, np.take_along_axis(scores, expected, 1), atol=1e-6)


@pytest.mark.parametrize("kind", EXACT)
@pytest.mark.parametrize("queries", [1, 3])
def test_equal_scores_at_the_end_of_the_answer_are_cut_by_their_row(kind, queries, monkeypatch):
    monkeypatch.setattr("unidiff_cli.retrieval.exact.LEAST", 8)
    monkeypatch.setattr("unidiff_cli.retrieval.exact.MOST", 8)
    embeddings = unit([[0.6, 0.8]] * 50 + [[1, 0]])
    found = built(kind, embeddings).search(unit([[1, 0]] * queries), 4)
    assert found.rows.tolist() == [[50, 0, 1, 2]] * queries


@pytest.mark.parametrize(
    "damage",
    [lambda data: b"", lambda data: data[:-4], lambda data: b"\xff" * 50, lambda data: data + b"1"],
)
def test_a_damaged_file_of_embeddings_is_named(embeddings, tmp_path, damage):
    index = built(EXACT[0], embeddings)
    index.save(tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(Damaged, match="is not what was written.* Run: unidiff index --force"):
        registry.load("indexes", EXACT[0])().open(tmp_path)
