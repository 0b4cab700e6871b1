"""Intervals and paired tests: by hand, against scipy, and how often they are wrong."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from tests.support.evaluation import normal
from unidiff_cli.data import splits
from unidiff_cli.evaluation import statistics

UNCLEAR = "not distinguishable"

# ---------------------------------------------------------------- intervals


@pytest.mark.parametrize(("hits", "low", "high"), [(0, 0, 0.2775), (5, 0.2366, 0.7634)])
def test_wilson_by_hand(hits, low, high):
    around = statistics.wilson(hits, 10)
    assert (around.low, around.high) == pytest.approx((low, high), abs=1e-4)
    assert (around.value, around.items, around.groups) == (hits / 10, 10, 10)


def test_bootstrap_of_a_mean_is_the_textbooks():
    values = normal(400, 1, dtype=float)[:, 0]
    around = statistics.bootstrap_mean(values, samples=4000)
    half = 1.96 * values.std() / 20
    assert around.low == pytest.approx(values.mean() - half, abs=0.01)
    assert around.high == pytest.approx(values.mean() + half, abs=0.01)
    assert statistics.bootstrap_mean(values, seed=1) == statistics.bootstrap_mean(values, seed=1)


def test_bootstrap_of_groups_is_scipys_of_group_sums():
    values, groups = normal(400, 1, dtype=float)[:, 0], np.arange(400) // 8
    around = statistics.bootstrap_mean(values, groups=groups, samples=4000)
    sums = np.bincount(groups, values)
    theirs = stats.bootstrap(
        (sums, np.full(50, 8.0)),
        lambda s, c, axis: s.sum(axis=axis) / c.sum(axis=axis),
        paired=True,
        n_resamples=4000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert (around.low, around.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_groups_widen_an_interval():
    values, groups = np.repeat(normal(50, 1, dtype=float)[:, 0], 8), np.repeat(np.arange(50), 8)
    grouped, single = (statistics.bootstrap_mean(values, groups=g) for g in (groups, None))
    assert grouped.groups == 50 and grouped.items == 400
    ratio = (grouped.high - grouped.low) / (single.high - single.low)
    assert ratio == pytest.approx(np.sqrt(8), rel=0.15)


def test_whole_groups_are_resampled():
    counts = statistics.resamples(400, 3, groups=np.repeat(np.arange(50), 8))
    assert counts.shape == (3, 400)
    assert (counts.reshape(3, 50, 8).std(axis=2) == 0).all()


def test_a_product_is_resampled_on_both_sides():
    groups = (["a", "a", "b", "c"], ["b", "a", "b"])
    real, generated = statistics.both_sides(4, 3, 50, 0, groups)
    assert (real[:, 0] == real[:, 1]).all() and (generated[:, 0] == generated[:, 2]).all()
    assert (real[:, 2] == generated[:, 0]).all() and (real[:, 0] == generated[:, 1]).all()


# ---------------------------------------------------------------- paired tests


def test_weights_act_as_repeats():
    before, after = np.array([0.0, 1, 0, 1]), np.array([1.0, 1, 0, 0])
    test = statistics.paired(before, after, weights=np.array([3, 1, 1, 1]))
    assert (test.before, test.after) == pytest.approx((2 / 6, 4 / 6))


@pytest.mark.parametrize(
    ("sums", "p"),
    [
        # +++ and −−−
        ([1.0, 1, 1], 2 / 8),
        # |1| is reached by 16 of 16
        ([1.0, -1, 1, 0], 1.0),
        # No random signs reach it: Hoeffding's bound. 2⁻³⁹ is the truth.
        ([1.0] * 40, pytest.approx(2 * np.exp(-20))),
    ],
)
def test_sign_flips_by_hand(sums, p):
    assert statistics.sign_flip(np.array(sums)) == p


@pytest.mark.parametrize("groups", range(2, statistics.EXACT_GROUPS + 1))
def test_sign_flips_of_few_groups_are_scipys(groups):
    sums = np.random.default_rng(groups).normal(0.5, 1, groups)
    theirs = stats.permutation_test(
        (sums,),
        lambda x, axis: x.sum(axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
    )
    assert statistics.sign_flip(sums) == theirs.pvalue


@pytest.fixture
def hits():
    """Hits of two models on 200 queries, of which the second has more."""
    rng = np.random.default_rng(0)
    before = (rng.random(200) < 0.3).astype(float)
    return before, np.maximum(before, rng.random(200) < 0.3)


def test_a_clear_difference_has_a_verdict(hits):
    before, after = hits
    test = statistics.paired(before, after)
    assert test.verdict == "better" and test.low < test.difference < test.high
    assert statistics.paired(after, before).verdict == "worse"
    assert statistics.paired(before, after, better="lower").verdict == "worse"


def test_equal_models_and_noise_have_none(hits):
    before, _ = hits
    shuffled = np.random.default_rng(1).permutation(before)
    assert statistics.paired(before, before).verdict == UNCLEAR
    assert statistics.paired(before, shuffled).verdict == UNCLEAR


def test_five_items_are_too_few():
    assert statistics.paired(np.zeros(5), np.ones(5)).verdict == UNCLEAR


def test_a_paired_test_is_wrong_one_time_in_twenty():
    rng, wrong = np.random.default_rng(0), 0
    for seed in range(200):
        before, after = rng.standard_normal((2, 30))
        test = statistics.paired(before, after, samples=200, seed=seed)
        wrong += test.verdict != UNCLEAR
    # 10 expected; 20 or fewer with 99.9 %
    assert wrong <= 20


def test_folds_of_products_are_groups():
    products = np.random.default_rng(0).integers(0, 60, 500)
    fold = splits.folds(products, 10)
    test = statistics.paired(np.zeros(500), np.full(500, 0.1), groups=fold)
    assert test.groups == 10 and test.p == 2 / 1024 and test.verdict == "better"


def test_folds_keep_products_whole():
    products = np.random.default_rng(0).integers(0, 60, 500)
    fold = splits.folds(products, 10)
    assert set(fold) == set(range(10))
    assert all(len(set(fold[products == p])) == 1 for p in set(products))
    assert np.ptp(np.bincount(fold)) <= 12
    with pytest.raises(ValueError, match="cannot make"):
        splits.folds([1, 2], 3)


def test_a_distance_of_few_groups_has_no_interval_and_no_verdict():
    samples = np.random.default_rng(0).normal(size=200)
    six, five = (
        statistics.paired_bootstrap(5.0, 1.0, samples + 5, samples + 1, 40, n) for n in (6, 5)
    )
    assert six.verdict == "better"
    assert (five.verdict, five.low, five.high, five.p) == (UNCLEAR, None, None, 1.0)


@pytest.mark.parametrize(
    ("p", "adjusted"), [([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]), ([0.04], [0.04]), ([], [])]
)
def test_holm_by_hand(p, adjusted):
    assert statistics.holm(p) == pytest.approx(adjusted)


def test_holm_is_bonferroni_over_every_subset():
    """The closed test: a hypothesis is refused where every subset with it is, by Bonferroni."""
    for seed in range(20):
        p = np.random.default_rng(seed).random(5) ** 3
        subsets = [s for k in range(1, 6) for s in combinations(range(5), k)]
        closed = [
            max(min(1.0, len(s) * min(p[j] for j in s)) for s in subsets if i in s)
            for i in range(5)
        ]
        assert statistics.holm(p.tolist()) == pytest.approx(closed)


def test_small_p_values_of_many_groups_are_bounds():
    rng = np.random.default_rng(0)
    for shift in (0.0, 0.5, 1.0, 1.5):
        sums = rng.normal(shift, 1, 40)
        exact = 2 * stats.norm.sf(abs(sums.sum()) / np.sqrt((sums**2).sum()))
        assert statistics.sign_flip(sums) >= exact / 2


@pytest.mark.parametrize("groups", [7, 20])
def test_a_distances_small_p_is_that_of_t(groups):
    spread = np.random.default_rng(0).normal(size=1000)
    test = statistics.paired_bootstrap(5.0, 0.0, spread * 0 + 5, spread, 40, groups)
    expected = 2 * stats.t.sf(5 / spread.std(ddof=1), groups - 1)
    assert test.p == pytest.approx(expected) and test.verdict == "better"


# ---------------------------------------------------------------- not worse by more than a margin


@pytest.mark.parametrize(
    ("difference", "better", "not_worse"),
    [
        (0.00, "higher", True),
        (0.05, "higher", True),
        (-0.05, "higher", False),
        (0.05, "lower", False),
        (-0.05, "lower", True),
    ],
)
def test_the_interval_must_end_above_the_margin(difference, better, not_worse):
    """Differences of s.d. 0.01 over 30 products: the interval is about ± 0.004."""
    after = np.random.default_rng(0).normal(difference, 0.01, 30)
    test = statistics.paired(np.zeros(30), after, better=better, margin=0.02)
    assert test.not_worse is not_worse
    samples = np.random.default_rng(1).normal(0, 0.002, 500)
    numbers = (0.0, difference, samples * 0, samples + difference, 60, 30)
    assert statistics.paired_bootstrap(*numbers, better, 0.02).not_worse is not_worse


def test_a_margin_of_zero_asks_for_better():
    after = np.random.default_rng(0).normal(0.05, 0.01, 30)
    assert statistics.paired(np.zeros(30), after, margin=0).not_worse is True
    assert statistics.paired(np.zeros(30), after, better="lower", margin=0).not_worse is False


def test_without_a_margin_and_of_few_products_it_is_not_told():
    zeros = np.zeros(5)
    assert statistics.paired(np.zeros(30), np.zeros(30)).not_worse is None
    assert statistics.paired(zeros, zeros, margin=0.02).not_worse is None
    assert statistics.paired_bootstrap(1, 1, zeros, zeros, 5, margin=0.02).not_worse is None


def test_a_model_that_is_worse_by_the_margin_is_seldom_called_not_worse():
    """By the interval's end alone it would be in 5 to 8 % of trials."""
    rng, wrong = np.random.default_rng(0), 0
    for seed in range(150):
        after = rng.normal(-0.02, 0.1, 8)
        test = statistics.paired(np.zeros(8), after, margin=0.02, samples=200, seed=seed)
        wrong += bool(test.not_worse)
    # 3.75 expected; 11 or fewer with 99.9 %.
    assert wrong <= 11
