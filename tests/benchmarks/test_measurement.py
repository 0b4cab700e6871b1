"""How time and memory are measured: its own arithmetic by hand."""

import mmap
import os

import numpy as np
import pytest

from benchmarks import measurement
from unidiff_cli.machine import cores


def test_memory_is_that_of_the_peak():
    def touch() -> int:
        # Fresh pages from the system: an allocator may give out memory that is resident already.
        pages = mmap.mmap(-1, 32 * 2**20)
        array = np.frombuffer(pages, np.uint8)
        array[:: mmap.PAGESIZE] = 1
        return int(array[:: mmap.PAGESIZE].sum())

    peak, _, total = measurement.peak_growth(touch)
    assert total == 32 * 2**20 // mmap.PAGESIZE and peak == pytest.approx(32, abs=2)


def test_candidates_take_turns():
    calls = []
    candidates = {name: lambda n=name: calls.append(n) or n for name in "ab"}
    spent, results = measurement.in_turns(candidates, 2)
    assert calls == ["a", "b", "a", "b"]
    assert results == {"a": "a", "b": "b"} and len(spent["a"]) == 2


def test_a_ratio_is_the_median_over_rounds():
    result = measurement.ratio("times", np.array([2.0, 9.0, 4.0]), np.array([1.0, 3.0, 1.0]))
    assert result == {"times": 3.0, "times_least": 2.0, "times_most": 4.0}


def test_threads_are_given_back(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with measurement.all_cores():
        assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == str(cores())
    assert os.environ["OMP_NUM_THREADS"] == "1" and "MKL_NUM_THREADS" not in os.environ
