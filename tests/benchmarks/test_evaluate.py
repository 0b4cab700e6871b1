"""What measures the cost of evaluation: that what it compares gives the same numbers."""

import numpy as np
import pytest

from benchmarks.evaluate import BENCHMARK, PARTS, QUICK
from benchmarks.parts import recall
from unidiff_cli.evaluation import ranking


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
def test_a_little_of_everything_gives_equal_numbers(name, tmp_path):
    pytest.importorskip("torch_fidelity")
    figures = BENCHMARK.measure(tmp_path, {name: QUICK[name]})
    assert (tmp_path / "figures.json").is_file() and figures["machine"]["cores"] > 0
    expected = {figure for figure in BENCHMARK.bounds if figure.split(".")[0] == name}
    assert expected <= {f"{name}.{figure}" for figure in figures[name]}
    assert BENCHMARK.failed_checks(figures) == []
    assert expected <= set(BENCHMARK.table(figures).columns[0].cells)


@pytest.fixture
def ranks():
    """200 queries and answers, and their right ranking."""
    queries, answers = recall.embeddings(200)
    pairs = np.repeat(np.arange(200)[:, None], 2, axis=1)
    return queries, answers, ranking.rank_answers(queries, answers, pairs, top=recall.TOP)


def test_right_ranks_are_found_right(ranks):
    result = recall.against_dense(*ranks, 200)
    assert result == {"checked": 200, "ranks_outside": 0, "tops_outside": 0, "rank_equal": 1.0}


def test_wrong_ranks_and_answers_are_counted(ranks):
    queries, answers, right = ranks
    right.rank[:3] += 1
    right.top[5] = right.top[5][::-1]
    result = recall.against_dense(queries, answers, right, 200)
    assert (result["ranks_outside"], result["tops_outside"]) == (3, 1)
    assert result["rank_equal"] == 0.985
