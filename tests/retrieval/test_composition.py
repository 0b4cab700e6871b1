"""Queries of several parts: each side's scores weigh alike, whatever their scale."""

import numpy as np
import pytest

from unidiff_cli.errors import Damaged, UsageError
from unidiff_cli.retrieval.composition import (
    compose,
    covariance_of,
    read_covariance,
    write_covariance,
)


def unit(rows):
    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.fixture
def embeddings():
    spread = np.linspace(3, 0.1, 16)
    return unit(np.random.default_rng(0).normal(size=(3000, 16)) * spread + 1)


def test_the_covariance_in_blocks_is_that_of_all_rows(embeddings, monkeypatch):
    monkeypatch.setattr("unidiff_cli.retrieval.composition.BLOCK", 700)
    assert np.allclose(covariance_of(embeddings), np.cov(embeddings.T, bias=True), atol=1e-6)
    assert not covariance_of(np.zeros((0, 16), np.float32)).any()


def test_the_order_is_that_of_standardised_scores(embeddings):
    parts = unit(np.random.default_rng(1).normal(size=(3, 16)) * np.linspace(0.1, 3, 16))
    weights = [1.0, 0.5, -1.0]
    scores = embeddings @ parts.T
    wanted = ((scores - scores.mean(0)) / scores.std(0)) @ weights
    query = compose(parts, weights, covariance_of(embeddings))
    assert np.argsort(-(embeddings @ query))[:50].tolist() == np.argsort(-wanted)[:50].tolist()
    assert np.linalg.norm(query) == pytest.approx(1, abs=1e-6)


def test_a_part_that_scatters_little_decides_as_much_as_one_that_scatters_much(embeddings):
    wide, narrow = np.eye(16, dtype=np.float32)[[0, 15]]
    scores = embeddings @ np.stack([wide, narrow]).T
    assert scores[:, 0].std() > 3 * scores[:, 1].std()
    both = embeddings @ compose(np.stack([wide, narrow]), [1, 1], covariance_of(embeddings))
    with_wide, with_narrow = (np.corrcoef(both, scores[:, n])[0, 1] for n in range(2))
    assert with_wide == pytest.approx(with_narrow, abs=0.02)
    plain = embeddings @ unit(wide + narrow)
    assert np.corrcoef(plain, scores[:, 0])[0, 1] > np.corrcoef(plain, scores[:, 1])[0, 1] + 0.3


def test_a_single_part_is_its_own_embedding(embeddings):
    assert np.array_equal(compose(embeddings[:1], [0.5], np.eye(16)), embeddings[0])


def test_a_catalogue_of_equal_images_leaves_parts_as_they_are():
    parts = unit([[1, 0], [0, 1]])
    assert compose(parts, [1, 1], np.zeros((2, 2))) == pytest.approx(unit([1, 1]))


def test_a_query_of_unwanted_parts_alone_is_refused(embeddings):
    with pytest.raises(UsageError, match="only what is unwanted"):
        compose(embeddings[:2], [-1, -1], np.eye(16))


def test_a_damaged_file_is_named(embeddings, tmp_path):
    write_covariance(tmp_path, embeddings)
    assert np.array_equal(read_covariance(tmp_path), covariance_of(embeddings))
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(Damaged, match="unidiff index --force"):
        read_covariance(tmp_path)
