"""What measures a search: its answers are right, and wrong ones are counted."""

import numpy as np
import pytest

from benchmarks.parts.nearest import catalogue, wrong
from benchmarks.retrieve import BENCHMARK, PARTS, QUICK
from unidiff_cli.retrieval.exact import nearest_rows


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
def test_a_little_of_everything_gives_right_answers(name, tmp_path):
    figures = BENCHMARK.measure(tmp_path, {name: QUICK[name]})
    assert (tmp_path / "figures.json").is_file()
    assert BENCHMARK.failed_checks(figures) == []
    checked = [figure for figure in figures[name] if "wrong" in figure]
    assert len(checked) == 3 and not any(figures[name][figure] for figure in checked)


def test_wrong_answers_are_counted():
    embeddings, queries = catalogue(2_000, 32, 20)
    rows = nearest_rows(embeddings, queries, 10).rows
    assert wrong(embeddings, queries, rows) == 0
    rows[3, 0] = rows[3, 1]
    rows[5] = np.arange(10)
    assert wrong(embeddings, queries, rows) >= 2
