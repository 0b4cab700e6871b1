"""Intervals and paired tests: by hand, and how often they are wrong."""

import numpy as np
import pytest

from tests.support.evaluation import normal
from unidiff_cli.data import splits
from unidiff_cli.evaluation import statistics
from unidiff_cli.evaluation.results import BootstrapSamples, MetricResult, PerItem, pool
from unidiff_cli.reports.wording import sentence

# ---------------------------------------------------------------- intervals


@pytest.mark.parametrize(("hits", "low", "high"), [(0, 0, 0.2775), (5, 0.2366, 0.7634)])
def test_wilson_by_hand(hits, low, high):
    interval = statistics.wilson(hits, 10)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-4)


def test_bootstrap_of_a_mean_is_the_textbooks():
    values = normal(400, 1, dtype=float)[:, 0]
    interval = statistics.bootstrap_mean(values, samples=4000)
    half = 1.96 * values.std() / 20
    assert interval.low == pytest.approx(values.mean() - half, abs=0.01)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.01)


def test_bootstrap_of_a_mean_is_seeded():
    values = normal(400, 1, dtype=float)[:, 0]
    assert statistics.bootstrap_mean(values, seed=1) == statistics.bootstrap_mean(values, seed=1)


def test_groups_widen_an_interval():
    values = np.repeat(normal(50, 1, dtype=float)[:, 0], 8)
    groups = np.repeat(np.arange(50), 8)
    grouped, alone = (statistics.bootstrap_mean(values, groups=g) for g in (groups, None))
    assert grouped.groups == 50 and grouped.items == 400
    ratio = (grouped.high - grouped.low) / (alone.high - alone.low)
    assert ratio == pytest.approx(np.sqrt(8), rel=0.15)


def test_groups_are_resampled_whole():
    counts = statistics.resamples(400, 3, groups=np.repeat(np.arange(50), 8))
    assert counts.shape == (3, 400) and (counts.reshape(3, 50, 8).std(axis=2) == 0).all()


def test_a_product_is_resampled_on_both_sides():
    groups = ["a", "a", "b", "c"], ["b", "a", "b"]
    real, generated = statistics.both_sides(4, 3, 50, 0, groups)
    assert (real[:, 0] == real[:, 1]).all() and (generated[:, 0] == generated[:, 2]).all()
    assert (real[:, 2] == generated[:, 0]).all() and (real[:, 0] == generated[:, 1]).all()


@pytest.mark.parametrize(("groups", "known"), [(5, False), (6, True)])
def test_few_groups_give_no_interval_of_a_distance(groups, known):
    samples = np.random.default_rng(0).normal(size=200)
    bootstrap = {"kid": BootstrapSamples(samples, 40, groups)}
    interval = MetricResult({"kid": 1.0}, bootstrap=bootstrap).intervals()["kid"]
    assert interval.value == 1.0 and (interval.low is not None) == known


# ---------------------------------------------------------------- paired tests


def test_weights_act_as_repeats():
    before, after = np.array([0.0, 1, 0, 1]), np.array([1.0, 1, 0, 0])
    test = statistics.paired(before, after, weights=np.array([3, 1, 1, 1]))
    assert test.before == pytest.approx(2 / 6) and test.after == pytest.approx(4 / 6)


def test_sign_flips_by_hand():
    # +++ and −−−
    assert statistics.sign_flip(np.array([1.0, 1, 1])) == 2 / 8
    # |1| is reached by 16 of 16.
    assert statistics.sign_flip(np.array([1.0, -1, 1, 0])) == 1.0
    assert statistics.sign_flip(np.ones(40)) == pytest.approx(1e-4, rel=0.01)


@pytest.fixture
def hits():
    """The hits of 200 queries before and after: no hit is lost, and some are won."""
    rng = np.random.default_rng(0)
    before = (rng.random(200) < 0.3).astype(float)
    return before, np.maximum(before, rng.random(200) < 0.3)


def test_a_clear_difference_is_better_or_worse(hits):
    before, after = hits
    test = statistics.paired(before, after)
    assert test.verdict == "better" and test.low < test.difference < test.high
    assert statistics.paired(after, before).verdict == "worse"
    assert statistics.paired(before, after, better="lower").verdict == "worse"


def test_noise_is_not_distinguishable(hits):
    before, _ = hits
    shuffled = np.random.default_rng(0).permutation(before)
    for after in (before, shuffled):
        assert statistics.paired(before, after).verdict == "not distinguishable"


def test_five_items_are_too_few():
    test = statistics.paired(np.zeros(5), np.ones(5))
    assert test.verdict == "not distinguishable"


def test_the_sentence_of_a_test(hits):
    text = sentence(statistics.paired(*hits), "R@1", percent=True, items="queries")
    assert text.startswith("R@1 is better: ") and text.endswith("200 queries).")
    assert " % → " in text and "points (95 % interval +" in text
    grouped = statistics.paired(*hits, groups=np.arange(200) // 4)
    assert "200 items in 50 groups" in sentence(grouped, "R@1")


def test_a_paired_test_is_wrong_one_time_in_twenty():
    rng, wrong = np.random.default_rng(0), 0
    for seed in range(200):
        a, b = rng.standard_normal((2, 30))
        test = statistics.paired(a, b, samples=200, seed=seed)
        wrong += test.verdict != "not distinguishable"
    # 10 expected; 20 or fewer with 99.9 %.
    assert wrong <= 20


def test_few_groups_are_not_distinguishable_by_a_distance():
    samples = np.random.default_rng(0).normal(size=200)
    enough, few = (
        statistics.paired_bootstrap(5.0, 1.0, samples + 5, samples + 1, 40, groups)
        for groups in (6, 5)
    )
    assert enough.verdict == "better"
    assert (few.verdict, few.low, few.p) == ("not distinguishable", None, 1.0)
    assert sentence(few, "KID").endswith("5 → 1, −4 (40 items in 5 groups).")


def test_holm_by_hand():
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([0.04]) == [0.04] and statistics.holm([]) == []


# ---------------------------------------------------------------- folds


def test_folds_keep_products_whole():
    products = np.random.default_rng(0).integers(0, 60, 500)
    fold = splits.folds(products, 10)
    assert set(fold) == set(range(10))
    assert all(len(set(fold[products == p])) == 1 for p in set(products))
    assert np.ptp(np.bincount(fold)) <= 12
    test = statistics.paired(np.zeros(500), np.full(500, 0.1), groups=fold)
    assert test.groups == 10 and test.p == 2 / 1024 and test.verdict == "better"


def test_fewer_groups_than_folds_are_refused():
    with pytest.raises(ValueError, match="cannot make"):
        splits.folds([1, 2], 3)


def fold_result(values, samples, null_level, **figures):
    """A fold's result: R@1 of items, and KID with a null level."""
    return MetricResult(
        {"r1": float(np.mean(values)), "kid": 2.0, **figures},
        {"r1": PerItem(np.array(values), ["a"] * len(values))},
        {"kid": BootstrapSamples(np.array(samples), 3, 7)},
        references={"real": {"kid": 1.0}, "null_level": {"kid": null_level}},
        notes=["A note."],
    )


@pytest.fixture
def pooled():
    nan = np.nan
    return pool(
        [
            fold_result([1.0], [1, nan, nan], 3.0, rare=1.0),
            fold_result([0, 0, 0], [3, 4, nan], 4.0),
        ]
    )


def test_folds_are_pooled_over_all_items(pooled):
    # `rare` is missing in one fold.
    assert pooled.figures == {"r1": 0.25, "kid": 2.0}
    assert pooled.notes == ["A note."]


def test_bootstrap_samples_of_folds_are_averaged(pooled):
    values, items, groups = pooled.bootstrap["kid"]
    assert values == pytest.approx([2, 4, np.nan], nan_ok=True)
    assert (items, groups) == (6, 14)


def test_the_null_level_falls_with_the_number_of_folds(pooled):
    assert pooled.references["real"]["kid"] == 1
    # √(3² + 4²)/2
    assert pooled.references["null_level"]["kid"] == 5 / 2
