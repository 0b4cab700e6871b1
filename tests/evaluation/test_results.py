"""Metric results: intervals, paired tests, folds, and files."""

import numpy as np
import pytest

from unidiff_cli.evaluation.results import (
    BootstrapSamples,
    MetricResult,
    PerItem,
    compare_results,
    pool,
    table_tests,
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
    (test,) = table_tests([("tuned", "base")], results, SPECS, 0)
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


# ---------------------------------------------------------------- a table of tests


def table_of(seed, models=3, figures=4, products=9):
    """Equal models with figures of their own: each value is chance."""
    rng = np.random.default_rng(seed)
    names = ["base", *(f"model {n}" for n in range(1, models))]
    specs = {f"f{n}": FigureSpec(f"F{n}", "retrieval", "higher", True) for n in range(figures)}
    results = {
        name: {
            "metric": MetricResult(
                dict.fromkeys(specs, 0.5),
                {key: PerItem(rng.random(products), range(products)) for key in specs},
            )
        }
        for name in names
    }
    return table_tests([(name, "base") for name in names[1:]], results, specs, 0)


def test_of_tables_of_equal_models_one_in_twenty_has_a_mark():
    alone, marked = 0, 0
    for seed in range(60):
        tests = table_of(seed)
        alone += any(test.p < 0.05 for test in tests)
        marked += any(test.verdict != "not distinguishable" for test in tests)
    # 3 expected of 60; 9 or fewer with 99.9 %. Each by itself about a third would be marked.
    assert marked <= 9 < 12 <= alone


def test_the_verdict_and_its_sentence_follow_the_corrected_p():
    """A figure that is better by itself is not distinguishable among ten."""
    rng = np.random.default_rng(0)
    after = rng.normal(0.55, 1, 25)
    zeros = np.zeros(25)
    items = [PerItem(values, range(25)) for values in (zeros, after)]
    before, changed = (MetricResult({"a": 0.0}, {"a": each}) for each in items)
    specs = {"a": FigureSpec("A", "retrieval", "higher")}
    (single,) = table_tests([("m", "base")], {"base": {"x": before}, "m": {"x": changed}}, specs, 0)
    assert 0.01 < single.p < 0.05 and single.corrected == single.p
    assert single.verdict == "better" and "A is better" in single.sentence
    others = {f"b{n}": items[0] for n in range(9)}
    specs |= {key: FigureSpec(key, "retrieval", "higher") for key in others}
    results = {
        name: {"x": MetricResult(dict.fromkeys(specs, 0.0), {"a": each, **others})}
        for name, each in zip(("base", "m"), items, strict=True)
    }
    among = table_tests([("m", "base")], results, specs, 0)
    assert among[0].corrected == pytest.approx(10 * single.p)
    assert among[0].verdict == "not distinguishable"
    assert "A is not distinguishable" in among[0].sentence


def test_a_margin_is_of_shares_and_in_points():
    rng = np.random.default_rng(0)
    results = {
        name: {"x": result_of(rng.normal(0.5 + shift, 0.01, 30), rng.normal(size=200))}
        for name, shift in (("base", 0.0), ("same", 0.0), ("worse", -0.1))
    }
    pairs = [("same", "base"), ("worse", "base")]
    tests = {(t.model, t.figure): t for t in table_tests(pairs, results, SPECS, 0, margin=2)}
    assert tests["same", "r1"].not_worse is True
    assert tests["same", "r1"].sentence.endswith("; not worse by more than 2 points.")
    assert tests["worse", "r1"].not_worse is False
    assert tests["worse", "r1"].sentence.endswith("; may be worse by more than 2 points.")
    assert tests["same", "kid"].not_worse is None and "points" not in tests["same", "kid"].sentence
