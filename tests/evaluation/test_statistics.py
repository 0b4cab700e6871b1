"""Intervals and paired tests: by hand, and how often they are wrong."""

import numpy as np
import pytest

from tests.support.evaluation import normal
from unidiff_cli.data import splits
from unidiff_cli.evaluation import statistics
from unidiff_cli.evaluation.results import BootstrapSamples, MetricResult, PerItem

# ---------------------------------------------------------------- intervals and paired tests


def test_wilson_by_hand():
    assert statistics.wilson(0, 10)[1:3] == pytest.approx((0, 0.2775), abs=1e-4)
    assert statistics.wilson(5, 10)[1:3] == pytest.approx((0.2366, 0.7634), abs=1e-4)


def test_bootstrap_of_a_mean_is_the_textbooks():
    values = normal(400, 1, dtype=float)[:, 0]
    around = statistics.bootstrap_mean(values, draws=4000)
    half = 1.96 * values.std() / 20
    assert around.low == pytest.approx(values.mean() - half, abs=0.01)
    assert around.high == pytest.approx(values.mean() + half, abs=0.01)
    assert statistics.bootstrap_mean(values, seed=1) == statistics.bootstrap_mean(values, seed=1)


def test_groups_widen_an_interval():
    each = normal(50, 1, dtype=float)[:, 0]
    values, groups = np.repeat(each, 8), np.repeat(np.arange(50), 8)
    loose, alone = (statistics.bootstrap_mean(values, groups=g) for g in (groups, None))
    assert loose.groups == 50 and loose.items == 400
    assert (loose.high - loose.low) / (alone.high - alone.low) == pytest.approx(
        np.sqrt(8), rel=0.15
    )
    counts = statistics.resamples(400, 3, groups=groups)
    assert counts.shape == (3, 400) and (counts.reshape(3, 50, 8).std(axis=2) == 0).all()


def test_weights_act_as_repeats():
    a, b, w = np.array([0.0, 1, 0, 1]), np.array([1.0, 1, 0, 0]), np.array([3, 1, 1, 1])
    found = statistics.paired(a, b, weights=w)
    assert found.before == pytest.approx(2 / 6) and found.after == pytest.approx(4 / 6)


def test_sign_flips_by_hand():
    assert statistics.sign_flip(np.array([1.0, 1, 1])) == 2 / 8  # +++ and −−−
    assert statistics.sign_flip(np.array([1.0, -1, 1, 0])) == 1.0  # |1| is reached by 16 of 16
    many = statistics.sign_flip(np.ones(40))
    assert many == pytest.approx(1e-4, rel=0.01)


def test_a_clear_difference_is_told_and_noise_is_not():
    rng = np.random.default_rng(0)
    before = (rng.random(200) < 0.3).astype(float)
    after = np.maximum(before, rng.random(200) < 0.3)
    found = statistics.paired(before, after)
    assert found.verdict == "better" and found.low < found.difference < found.high
    assert statistics.paired(after, before).verdict == "worse"
    assert statistics.paired(before, after, better="lower").verdict == "worse"
    assert statistics.paired(before, before).verdict == "not distinguishable"
    assert statistics.paired(before, rng.permutation(before)).verdict == "not distinguishable"
    few = np.zeros(5)
    assert statistics.paired(few, few + 1).verdict == "not distinguishable", (
        "five items are too few to be sure"
    )
    said = statistics.sentence(found, "R@1", percent=True, items="queries")
    assert (
        said.startswith("R@1 is better: ") and " % → " in said and "points (95 % interval +" in said
    )
    assert said.endswith("200 queries).")
    grouped = statistics.paired(before, after, groups=np.arange(200) // 4)
    assert "200 items in 50 groups" in statistics.sentence(grouped, "R@1")


def test_a_paired_test_is_wrong_one_time_in_twenty():
    rng, told = np.random.default_rng(0), 0
    for seed in range(200):
        a, b = rng.standard_normal((2, 30))
        told += statistics.paired(a, b, draws=200, seed=seed).verdict != "not distinguishable"
    assert told <= 20  # 10 expected; 20 or fewer with 99.9 %


def test_folds_keep_products_whole():
    products = np.random.default_rng(0).integers(0, 60, 500)
    fold = splits.folds(products, 10)
    assert set(fold) == set(range(10))
    assert all(len(set(fold[products == p])) == 1 for p in set(products))
    assert np.ptp(np.bincount(fold)) <= 12
    found = statistics.paired(np.zeros(500), np.full(500, 0.1), groups=fold)
    assert found.groups == 10 and found.p == 2 / 1024 and found.verdict == "better"
    with pytest.raises(ValueError, match="cannot make"):
        splits.folds([1, 2], 3)


def test_a_product_is_resampled_on_both_sides():
    real, drawn = statistics.both_sides(4, 3, 50, 0, (["a", "a", "b", "c"], ["b", "a", "b"]))
    assert (real[:, 0] == real[:, 1]).all() and (drawn[:, 0] == drawn[:, 2]).all()
    assert (real[:, 2] == drawn[:, 0]).all() and (real[:, 0] == drawn[:, 1]).all()


def test_few_groups_give_no_interval_of_a_distance_and_tell_nothing_apart():
    draws = np.random.default_rng(0).normal(size=200)
    assert statistics.paired_draws(5.0, 1.0, draws + 5, draws + 1, 40, 6).verdict == "better"
    few = statistics.paired_draws(5.0, 1.0, draws + 5, draws + 1, 40, 5)
    assert (few.verdict, few.low, few.p) == ("not distinguishable", None, 1.0)
    assert statistics.sentence(few, "KID").endswith("5 → 1, −4 (40 items in 5 groups).")
    for groups, around in ((5, set()), (6, {"kid"})):
        measured = MetricResult(
            {"kid": 1.0}, {}, {"kid": BootstrapSamples(draws, 40, groups)}, {}, {}, []
        )
        assert set(measured.intervals()) == around


def test_holm_by_hand():
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([0.04]) == [0.04] and statistics.holm([]) == []


def test_folds_are_pooled():
    def fold(values, draws, noise, **more):
        figures = {"r1": float(np.mean(values)), "kid": 2.0, **more}
        items = {"r1": PerItem(np.array(values), ["a"] * len(values))}
        levels = {"real": {"kid": 1.0}, "null_level": {"kid": noise}}
        return MetricResult(
            figures, items, {"kid": BootstrapSamples(np.array(draws), 3, 7)}, {}, levels, ["Said."]
        )

    found = MetricResult.pooled(
        [fold([1.0], [1, np.nan, np.nan], 3.0, rare=1.0), fold([0, 0, 0], [3, 4, np.nan], 4.0)]
    )
    assert found.figures == {"r1": 0.25, "kid": 2.0}, (
        "over all items; what one fold has not is left out"
    )
    assert found.draws["kid"].values == pytest.approx([2, 4, np.nan], nan_ok=True)
    assert found.draws["kid"][1:] == (6, 14) and found.notes == ["Said."]
    assert (
        found.references["real"]["kid"] == 1 and found.references["null_level"]["kid"] == 5 / 2
    ), "√(3² + 4²)/2"
