"""Queries of several parts: one vector, the mean of the parts by their weights."""

import numpy as np
import pytest

from tests.support.evaluation import unit
from unidiff_cli.errors import UsageError
from unidiff_cli.retrieval.composition import compose


@pytest.fixture
def parts():
    return unit(np.random.default_rng(0).normal(size=(3, 16))).astype(np.float32)


def test_the_order_is_that_of_the_scores_added_by_weight(parts):
    embeddings = unit(np.random.default_rng(1).normal(size=(300, 16)))
    weights = [1.0, 0.5, -1.0]
    query = compose(parts, weights)
    assert np.linalg.norm(query) == pytest.approx(1, abs=1e-6) and query.dtype == np.float32
    wanted = embeddings @ parts.T @ weights
    assert np.argsort(-(embeddings @ query)).tolist() == np.argsort(-wanted).tolist()


def test_a_single_part_is_its_own_embedding(parts):
    assert np.array_equal(compose(parts[:1], [0.5]), parts[0])


def test_parts_that_cancel_each_other_out_leave_a_finite_query(parts):
    assert not compose(np.stack([parts[0], parts[0]]), [1, -1]).any()


def test_a_query_of_unwanted_parts_alone_is_refused(parts):
    with pytest.raises(UsageError, match="only what is unwanted"):
        compose(parts[:2], [-1, -1])
