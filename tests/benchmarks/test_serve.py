"""The benchmark of the service at a small size: it measures, and its check can fail."""

import pytest

pytest.importorskip("fastapi", reason="comes with the extra `serve`")

from benchmarks.serve import measure, measure_page


@pytest.mark.slow
def test_load_on_a_service(finished):
    figures = measure(finished.root, 4, 4, "color = 'red'")
    assert set(figures["statuses"]) == {"200"} and figures["same_after_kill"]
    assert figures["text_ms"]["p50"] <= figures["text_ms"]["p99"]


def test_what_a_page_needs_of_a_catalogue():
    figures = measure_page(2_000)
    assert set(figures) >= {"open", "facets", "first", "search"}
    assert all(value >= 0 for value in figures.values())
