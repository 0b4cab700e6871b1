"""Metric results: intervals, paired tests, folds, and files."""

import numpy as np
import pytest

from unidiff_cli.evaluation.results import (
    BootstrapSamples,
    MetricResult,
    PerItem,
    compare_results,
    figure_tests,
    pool,
)
from unidiff_cli.evaluation.results_file import StoredResults, read_results, write_results
from unidiff_cli.reports.schema import FigureSpec, Interval

SPECS = {
    "r1": FigureSpec("R@1", "retrieval", "higher", percent=True),
    "kid": FigureSpec("KID", "generation", "lower"),
    "rank": FigureSpec("Rank", "retrieval", "lower"),
}


def result_of(hits, samples=(), groups=7):
    """R@1 of items, each its own group, KID with bootstrap samples, and a figure with neither."""
    items = PerItem(np.array(hits, float), [f"item {n}" for n in range(len(hits))])
    samples = {"kid": BootstrapSamples(np.array(samples), 40, groups)} if len(samples) else {}
    figures = {"r1": float(np.mean(hits)), "kid": 2.0, "rank": 3.0}
    return MetricResult(figures, {"r1": items}, samples)


def test_a_figure_has_an_interval_where_it_has_items_or_samples():
    samples = np.random.default_rng(0).normal(size=200)
    intervals = result_of([1, 0, 0, 1], samples).intervals()
    assert intervals["r1"].value == 0.5 and intervals["r1"].items == 4
    assert intervals["kid"].low < 2.0 < intervals["kid"].high and intervals["kid"].groups == 7
    assert intervals["rank"] == Interval(3.0)


def test_few_groups_give_no_interval_of_a_distance():
    samples = np.random.default_rng(0).normal(size=200)
    assert result_of([1, 0], samples, groups=6).intervals()["kid"].low is not None
    assert result_of([1, 0], samples, groups=5).intervals()["kid"] == Interval(2.0)


def test_samples_that_are_not_finite_are_left_out():
    samples = np.append(np.random.default_rng(0).normal(size=200), np.nan)
    assert result_of([1, 0], samples).intervals() == result_of([1, 0], samples[:-1]).intervals()


def test_figures_are_tested_where_both_models_have_items_or_samples():
    samples = np.random.default_rng(0).normal(size=200)
    before, after = result_of([0] * 30, samples), result_of([1] * 30, samples + 5)
    tests = compare_results(SPECS, before, after)
    assert list(tests) == ["r1", "kid"]
    assert tests["r1"].verdict == "better"
    assert compare_results(SPECS, before, result_of([1] * 29)) == {}


def test_a_test_of_a_report_is_named_and_has_a_sentence():
    results = {"base": {"recall": result_of([0] * 30)}, "tuned": {"recall": result_of([1] * 30)}}
    (test,) = figure_tests("tuned", "base", results, SPECS, generated=0)
    assert (test.model, test.against, test.figure) == ("tuned", "base", "r1")
    assert test.sentence.startswith("R@1 is better: 0.0 % → 100.0 %")


def fold_result(hits, samples, null_level, **figures):
    """A fold's result: R@1 of items, and KID with a null level."""
    return MetricResult(
        {"r1": float(np.mean(hits)), "kid": 2.0, **figures},
        {"r1": PerItem(np.array(hits, float), ["a"] * len(hits))},
        {"kid": BootstrapSamples(np.array(samples), 3, 7)},
        references={"real": {"kid": 1.0}, "null_level": {"kid": null_level}},
        notes=["A note."],
    )


@pytest.fixture
def pooled():
    nan = np.nan
    one = fold_result([1], [1, nan, nan], 3.0, rare=1.0)
    return pool([one, fold_result([0, 0, 0], [3, 4, nan], 4.0)])


def test_folds_are_pooled_over_all_items(pooled):
    # `rare` is missing in one fold.
    assert pooled.figures == {"r1": 0.25, "kid": 2.0}
    assert pooled.notes == ["A note."]


def test_bootstrap_samples_of_folds_are_averaged(pooled):
    values, items, groups = pooled.bootstrap["kid"]
    assert values == pytest.approx([2, 4, np.nan], nan_ok=True)
    assert (items, groups) == (6, 14)


def test_the_null_level_falls_with_the_number_of_folds(pooled):
    # √(3² + 4²)/2
    assert pooled.references == {"real": {"kid": 1}, "null_level": {"kid": 5 / 2}}


def test_results_are_stored_and_read(tmp_path):
    weighted = PerItem(np.array([0.0, 1]), ["a", "b"], np.array([2.0, 1]))
    results = {
        "recall": result_of([1, 0, 0], [1.0, 2, 3]),
        "kid": MetricResult({"map": 0.5}, {"map": weighted}, references={"chance": {"map": 0.1}}),
    }
    stored = write_results(tmp_path / "cell.safetensors", results)
    stored = StoredResults.model_validate_json(stored.model_dump_json())
    read = read_results(tmp_path / "cell.safetensors", stored)
    assert list(read) == list(results)
    for name, result in results.items():
        assert read[name].figures == result.figures
        assert read[name].references == result.references
        assert read[name].intervals() == result.intervals()
        assert compare_results(SPECS, read[name], result) == compare_results(SPECS, result, result)
