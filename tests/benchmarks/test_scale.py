"""The table of docs/scale.md: what a machine and a catalogue make of counted operations."""

import pytest

from benchmarks import scale

COUNTED = {
    "clip-only": 200e12,
    "fashion-24gb": 280e12,
    "fashion-80gb": 270e12,
    "embedded": 0.16e12,
    "encoded": 1.1e12,
    "denoised": 0.7e12,
    "decoded": 2.5e12,
    "bytes of latents": 65536,
    "bytes of pixels": 150528,
}


def test_a_step_of_the_measured_recipe_takes_what_was_measured():
    card = scale.Machine("one H100", "clip-only", 1, scale.H100, 1, 1)
    figures = scale.estimate(card, 10_000, COUNTED)
    assert figures["train"] / figures["steps"] == pytest.approx(scale.MEASURED_SECONDS)


def test_cards_divide_the_time_and_the_catalogue_costs_what_it_grows_by():
    small, large, larger = scale.MACHINES
    one, many = (scale.estimate(small, n, COUNTED) for n in scale.IMAGES[:2])
    assert many["index"] == pytest.approx(100 * one["index"])
    assert many["prepare"] == pytest.approx(100 * one["prepare"])
    assert many["train"] == one["train"]
    eight, most = (scale.estimate(m, 10**8, COUNTED) for m in (large, larger))
    assert eight["index"] == pytest.approx(8 * most["index"])
    # No more is cached than a run reads.
    assert eight["cached"] == scale.estimate(large, 10**6, COUNTED)["cached"]
    assert one["cached"] == pytest.approx(10_000 * (65536 + 150528))


def test_durations_and_sizes_are_in_words():
    assert [scale.duration(s) for s in (0.2, 90, 400, 9000, 300_000)] == [
        "1 s",
        "90 s",
        "7 min",
        "2 h",
        "3 d",
    ]
    assert [scale.size(n) for n in (31e6, 3.1e9, 6e12)] == ["31 MB", "3.1 GB", "6.0 TB"]
