"""The approximate kind of index: it finds what its cells are calibrated for, with exact scores."""

import numpy as np
import pytest

from benchmarks.parts.nearest import catalogue
from unidiff_cli.errors import Damaged
from unidiff_cli.retrieval.exact import nearest_rows, search_exactly
from unidiff_cli.retrieval.indexes import ivf
from unidiff_cli.retrieval.indexes.ivf import Ivf
from unidiff_cli.retrieval.recall import Questions

ROWS = 20_000


@pytest.fixture(scope="module")
def data():
    """Embeddings (N, D) and queries (Q, D) near some of them."""
    return catalogue(ROWS, 32, 400)


@pytest.fixture(scope="module")
def index(data):
    embeddings, queries = data
    index = Ivf()
    index.build(embeddings)
    index.calibrate([Questions.ask(lambda q, k: nearest_rows(embeddings, q, k), queries[:200])])
    return index


def recall(found, expected):
    """The share of the expected rows (Q, k) that were found."""
    pairs = zip(found.rows, expected.rows, strict=True)
    return np.mean([len(set(a) & set(b)) / len(b) for a, b in pairs])


def test_it_looks_into_few_cells_and_finds_nearly_all(index, data):
    embeddings, queries = data
    assert 1 <= index.probes < index.cells / 4
    found = index.search(queries[200:], 10)
    assert recall(found, nearest_rows(embeddings, queries[200:], 10)) >= 0.98
    assert recall(found, nearest_rows(embeddings, queries[200:], 10)) < 1, "it is approximate"


def test_its_scores_are_those_of_the_embeddings(index, data):
    embeddings, queries = data
    found = index.search(queries, 10)
    exact = np.einsum("qkd,qd->qk", embeddings[found.rows].astype(float), queries.astype(float))
    assert np.abs(found.scores - exact).max() < 1e-6
    assert (np.diff(found.scores, axis=1) <= 0).all()


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01, 0.0005])
def test_a_filter_finds_as_much_as_without(index, data, share):
    embeddings, queries = data
    allowed = np.random.default_rng(1).random(ROWS) < share
    found = index.search(queries[200:], 10, allowed)
    assert allowed[found.rows].all()
    assert recall(found, search_exactly(embeddings, queries[200:], 10, allowed)) >= 0.98


def test_a_filter_that_leaves_nothing_near_a_query_looks_farther(index, data):
    embeddings, queries = data
    shares = []
    for query in queries[:20, None]:
        # Without the nearest tenth.
        allowed = np.argsort(np.argsort(-(embeddings @ query[0]))) >= ROWS // 10
        found = index.search(query, 10, allowed)
        assert found.rows.shape == (1, 10) and allowed[found.rows].all()
        shares.append(recall(found, search_exactly(embeddings, query, 10, allowed)))
    assert np.mean(shares) >= 0.9


@pytest.mark.parametrize("k", [1, 100, 5_000, ROWS, 2 * ROWS])
def test_any_number_of_neighbours_is_given(index, data, k):
    embeddings, queries = data
    found = index.search(queries[:3], k)
    assert found.rows.shape == (3, min(k, ROWS))
    assert all(len(set(row)) == len(row) for row in found.rows.tolist())
    assert recall(found, nearest_rows(embeddings, queries[:3], k)) >= 0.95


def test_what_is_calibrated_is_stored_with_it(index, data, tmp_path):
    index.save(tmp_path)
    opened = Ivf()
    opened.open(tmp_path)
    assert opened.probes == index.probes
    for one, other in zip(index.search(data[1], 10), opened.search(data[1], 10), strict=True):
        assert np.array_equal(one, other)


def test_what_no_few_cells_answer_is_searched_in_all(data):
    embeddings, _ = data
    index = Ivf()
    index.build(embeddings)
    impossible = Questions(embeddings[:2], np.array([-1, -1]), np.full((2, 10), 2.0, np.float32))
    index.calibrate([impossible])
    assert index.probes == index.cells


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: b"\xff" * 50])
def test_a_damaged_file_of_cells_is_named(index, tmp_path, damage):
    index.save(tmp_path)
    file = tmp_path / ivf.FILE
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(
        Damaged, match="cells.faiss is not what was written.* unidiff index --force"
    ):
        Ivf().open(tmp_path)


def test_cells_of_other_embeddings_are_refused(index, data, tmp_path):
    index.save(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    fewer = Ivf()
    fewer.build(data[0][:5_000])
    fewer.save(other)
    (other / ivf.FILE).replace(tmp_path / ivf.FILE)
    with pytest.raises(Damaged, match="it is of other embeddings"):
        Ivf().open(tmp_path)


def test_a_full_disk_is_an_error_of_the_system(index, tmp_path, monkeypatch):
    (tmp_path / ivf.FILE).symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space"):
        index.save(tmp_path)
