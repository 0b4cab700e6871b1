"""What measures a search: its answers are right, and wrong ones are counted."""

import numpy as np
import pytest

from benchmarks.parts.approximate import captions_near, recall_of
from benchmarks.parts.nearest import catalogue, in_double, wrong
from benchmarks.retrieve import BENCHMARK, CHECKS, PARTS, QUICK
from unidiff_cli.retrieval.exact import nearest_rows


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
def test_a_little_of_everything_gives_right_answers(name, tmp_path):
    figures = BENCHMARK.measure(tmp_path, {name: QUICK[name]})
    assert (tmp_path / "figures.json").is_file()
    assert BENCHMARK.failed_checks(figures) == []
    assert [bound for bound in CHECKS if bound.startswith(f"{name}.")]


def test_wrong_answers_are_counted():
    embeddings, queries = catalogue(2_000, 32, 20)
    rows = nearest_rows(embeddings, queries, 10).rows
    assert wrong(embeddings, queries, rows) == 0
    rows[3, 0] = rows[3, 1]
    rows[5] = np.arange(10)
    assert wrong(embeddings, queries, rows) >= 2


def test_recall_counts_by_hand():
    embeddings, queries = catalogue(2_000, 32, 20)
    scores = in_double(embeddings, queries.T.astype(float))
    rows = nearest_rows(embeddings, queries, 10).rows
    assert recall_of(rows, scores) == 1
    far = nearest_rows(embeddings, -queries, 10).rows
    assert recall_of(far, scores) == 0
    rows[:, :5] = far[:, :5]
    assert recall_of(rows, scores) == 0.5
    rows[:] = rows[:, 9:]
    assert recall_of(rows, scores) == pytest.approx(0.1)


def test_captions_lie_as_far_from_their_images_as_those_of_clip():
    images = catalogue(2_000, 512, 20)[1]
    cosines = (images * captions_near(images)).sum(1)
    assert 0.2 < cosines.mean() < 0.5
