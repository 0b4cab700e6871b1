"""The page of a run: what its log has, in one file that loads nothing."""

import re

import pytest

from unidiff_cli.progress import time_left
from unidiff_cli.project import run_log
from unidiff_cli.reports.run import POINTS, RunState, page, thinned


def log(folder, steps):
    for step in range(1, steps + 1):
        terms = {"contrastive": 2 / step, "gradient_norm_text_retrieval": 1.0}
        pace = {"seconds": 2.0, "samples_per_second": 32.0, "memory_mb": 2048.0}
        run_log.append(folder, step=step, loss=3 / step, lr=1e-4, grad_norm=1.0, **terms, **pace)
    for step in (steps // 2, steps):
        run_log.append(folder, step=step, validation={"loss": 1.0, "r1_t2i": 0.5})


def state(ended="", best=4):
    return RunState("001-fashion", ["contrastive"], 100, best, ended, "steps: <b>100</b>")


def test_a_page_shows_curves_and_where_the_run_stands(tmp_path):
    log(tmp_path, 10)
    text = page(tmp_path, state())
    titles = re.findall(r"<h3>(.*?)</h3>", text)
    assert {"Loss", "Retrieval (R@1)", "Gradients that meet", "Memory in use"} <= set(titles)
    assert "10 of 100" in text and "3 min" in text and "2.0 GB" in text and "step 4" in text
    assert "This run goes on" in text
    assert "http" not in text.split("</style>")[1] and "&lt;b&gt;" in text


def test_a_page_of_an_ended_run_says_how_it_ended(tmp_path):
    log(tmp_path, 10)
    text = page(tmp_path, state("Ended early at step 10."))
    assert "Ended early at step 10." in text and "time left" not in text


def test_a_page_needs_no_step(tmp_path):
    assert "0 of 100" in page(tmp_path, state(best=0))


def test_a_long_curve_is_thinned_to_means():
    xs, ys = thinned([(step, step % 2) for step in range(1, 4 * POINTS + 1)])
    assert len(xs) == POINTS and xs[-1] == 4 * POINTS and set(ys) == {0.5}


@pytest.mark.parametrize(
    ("seconds", "text"), [(45, "45 s"), (720, "12 min"), (12000, "3 h 20 min")]
)
def test_a_duration_is_said_as_people_do(seconds, text):
    assert time_left(seconds) == text
