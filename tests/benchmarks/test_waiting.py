"""What a busy core costs: the figures that are made of times, and that the benchmark runs."""

import pytest

from benchmarks import waiting


def test_slowdown_and_cost_are_of_medians():
    seconds = {
        ("spinning", "idle", "train"): [1.0, 1.0, 9.0],
        ("spinning", "busy", "train"): [20.0],
        ("passive", "idle", "train"): [1.1],
        ("passive", "busy", "train"): [2.2],
    }
    train = waiting.figures(seconds)["train"]
    assert train["spinning_slowdown"] == 20 and train["passive_slowdown"] == pytest.approx(2)
    assert train["passive_cost"] == pytest.approx(1.1) and "spinning_cost" not in train
    # A stage of which no round counted has no figures.
    assert waiting.figures(seconds)["index"] == {}


@pytest.mark.slow
def test_every_stage_is_timed_on_a_busy_core(tmp_path):
    seconds, quiet = waiting.measured(waiting.prepared(tmp_path), ["passive"], 1)
    assert {stage for _, load, stage in seconds if load == "busy"} == set(waiting.STAGES)
    assert set(quiet) == {"others", "left_out"}
