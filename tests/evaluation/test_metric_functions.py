"""The new metrics' arithmetic on numbers a person can check, in blocks as in one piece, and on models that fail."""

import json
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from unidiff_cli.config.schema import Evaluate, Generate
from unidiff_cli.data import splits
from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation import (
    attribute_columns,
    classification,
    collapse_meters,
    metrics,
    mmd,
    ranking,
    statistics,
)
from unidiff_cli.evaluation.eval_set import EvalSet
from unidiff_cli.evaluation.metrics import (
    attributes,
    cmmd,
    collapse,
    diversity,
    fid,
    kid,
    near_copies,
    precision_recall,
    r_precision,
    recall,
    zero_shot,
)
from unidiff_cli.evaluation.metrics.attributes import Attributes
from unidiff_cli.evaluation.metrics.cmmd import Cmmd
from unidiff_cli.evaluation.metrics.collapse import Collapse
from unidiff_cli.evaluation.metrics.diversity import Diversity
from unidiff_cli.evaluation.metrics.drift import Drift
from unidiff_cli.evaluation.metrics.fid import Fid, Moments
from unidiff_cli.evaluation.metrics.near_copies import NearCopies
from unidiff_cli.evaluation.metrics.precision_recall import PrecisionRecall
from unidiff_cli.evaluation.metrics.r_precision import RPrecision
from unidiff_cli.evaluation.metrics.retention import Retention
from unidiff_cli.evaluation.metrics.zero_shot import ZeroShot
from unidiff_cli.evaluation.results import BootstrapSamples, MetricResult, PerItem, compared


def normal(n, d=16, seed=0, shift=0.0, dtype=np.float32):
    return (np.random.default_rng(seed).standard_normal((n, d)) + shift).astype(dtype)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


# ---------------------------------------------------------------- retrieval from embeddings


def dense(queries, answers, pairs):
    relevant = np.zeros((len(queries), len(answers)), bool)
    relevant[pairs[:, 0], pairs[:, 1]] = True
    return np.round(queries @ answers.T, 6), relevant


def test_average_precision_by_hand():
    queries = np.eye(3, 4)
    answers = np.array([[0.9, 0.8, 0.1], [0.7, 0.8, 0.1], [0.5, 0.6, 0.1], [0.1, 0.1, 0.1]])
    answers = np.hstack([answers, np.zeros((4, 1))])
    pairs = np.array(
        [[0, 0], [0, 2], [1, 0], [1, 0]]
    )  # a pair said twice is one; query 2 has no answer
    found = ranking.ranked(queries, answers, pairs)
    assert found.rank.tolist() == [0, 1, ranking.NEVER] and found.right.tolist() == [2, 1, 0]
    # query 0: places 1 and 3, (1/1 + 2/3)/2; query 1: its answer ties with a wrong one, which comes first
    assert found.precision == pytest.approx([5 / 6, 1 / 2, 0])
    assert ranking.hits(found.rank, 1).tolist() == [1, 0, 0]
    assert (
        ranking.median_rank(found.rank) == 2
        and ranking.median_rank(found.rank, np.array([3, 1, 1])) == 1
    )
    assert ranking.median_rank(np.array([0, 1, 4, 9])) == (2 + 5) / 2
    assert ranking.median_rank(np.array([0, ranking.NEVER, ranking.NEVER])) == np.inf


def test_ties_among_several_right_answers():
    queries, answers = np.ones((1, 1)), np.array([[0.5], [0.5], [0.5], [0.9], [0.1]])
    found = ranking.ranked(queries, answers, np.array([[0, 0], [0, 1], [0, 4]]))
    # wrong 3 first, then wrong 2 of the level, then right 0 and 1, then right 4
    assert found.rank[0] == 2 and found.precision[0] == pytest.approx((1 / 3 + 2 / 4 + 3 / 5) / 3)


def ranks(scores, relevant):
    """The definition, on the whole matrix: wrong answers that score as much as the best right one, or more."""
    scores = np.where(np.isfinite(scores), scores, -np.inf)
    best = np.where(relevant, scores, -np.inf).max(axis=1, keepdims=True)
    return np.where(relevant.any(axis=1), ((scores >= best) & ~relevant).sum(axis=1), ranking.NEVER)


@pytest.mark.parametrize("block", [1, 100, 2**24])
def test_ranks_in_blocks_are_the_ranks(block):
    rng = np.random.default_rng(1)
    queries, answers = unit(normal(40, 8)), unit(normal(90, 8, seed=1))
    answers[50:60] = answers[:10]  # copies: exact ties
    pairs = np.stack([rng.integers(0, 40, 150), rng.integers(0, 90, 150)], axis=1)
    pairs = np.concatenate(
        [pairs, [[3, n] for n in range(0, 90, 2)]]
    )  # and a query with many right answers
    found = ranking.ranked(queries, answers, pairs, top=7, block=block)
    scores, relevant = dense(queries, answers, pairs)
    assert (found.rank == ranks(scores, relevant)).all()
    assert (found.right == relevant.sum(axis=1)).all()
    raw = queries @ answers.T
    assert (np.take_along_axis(raw, found.top, 1) == -np.sort(-raw, axis=1)[:, :7]).all()
    for q in range(40):  # average precision by the definition: wrong before right where equal
        order = np.lexsort((relevant[q], -scores[q]))
        right = relevant[q][order]
        expected = (
            (np.cumsum(right)[right] / (np.flatnonzero(right) + 1)).mean() if right.any() else 0
        )
        assert found.precision[q] == pytest.approx(expected)


def test_ranks_of_embeddings_that_are_no_numbers():
    queries, answers = unit(normal(4, 8)), unit(normal(6, 8, seed=1))
    queries[0, 0], answers[5, 0] = np.nan, np.inf
    pairs = np.array([[q, q] for q in range(4)])
    scores, relevant = dense(queries, answers, pairs)
    assert (ranking.ranked(queries, answers, pairs).rank == ranks(scores, relevant)).all()
    with pytest.raises(ValueError, match="among 4 and 6"):
        ranking.ranked(queries, answers, np.array([[0, 6]]))


def test_memory_of_ranking_is_the_block_and_not_the_matrix():
    queries, answers = unit(normal(3000, 8)), unit(normal(3000, 8, seed=1))
    pairs = np.stack([np.arange(3000)] * 2, axis=1)
    tracemalloc.start()
    ranking.ranked(queries, answers, pairs, top=5, block=2**17)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 2**20  # the matrix is 36 MB


def test_shuffled_captions_are_at_chance():
    n, d, rng = 400, 32, np.random.default_rng(0)
    texts = unit(normal(n, d))
    pairs = np.stack([np.arange(n), rng.permutation(n)], axis=1)
    found = ranking.ranked(texts, texts, pairs)
    level = recall.chance_recall(found.right, n)
    for k in recall.KS:
        around = statistics.wilson(int(ranking.hits(found.rank, k).sum()), n)
        assert around.low <= level[k] <= around.high
    assert found.precision.mean() == pytest.approx(
        recall.chance_precision(found.right, n), abs=0.01
    )
    assert ranking.median_rank(found.rank) == pytest.approx(n / 2, rel=0.15)


def test_chance_of_average_precision_by_hand():
    # one right of two: 1 or 1/2; two right of three: places 12, 13, 23
    assert recall.chance_precision(np.array([1]), 2) == pytest.approx(3 / 4)
    assert recall.chance_precision(np.array([2]), 3) == pytest.approx((1 + 5 / 6 + 7 / 12) / 3)
    assert recall.chance_precision(np.array([0, 1]), 1) == 0.5


def test_figures_by_attribute():
    found = recall.by_label(
        np.array([1, 0, 1, 1]), ["red", "red", None, "blue"], groups=["a", "a", "b", "c"]
    )
    assert list(found) == ["red", "blue"]
    assert found["red"].value == 0.5 and found["red"].items == 2 and found["red"].groups == 1
    assert "blue" not in recall.by_label(np.array([1, 0]), ["red", "blue"], least=2)


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
    other = statistics.bootstrap(lambda some: float(values[some].mean()), 400, draws=4000)
    assert other[:3] == pytest.approx(around[:3], abs=1e-12), "the same draws"
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


# ---------------------------------------------------------------- distances


def test_moments_are_numpys_however_they_come():
    x = normal(2500, 6, shift=1e4, dtype=float)
    whole, parts = Moments.of(x), Moments(6)
    for start, stop in ((0, 1), (1, 900), (900, 900)):
        parts.update(x[start:stop])
    rest = Moments.of(x[900:])
    parts.merge(rest)
    for moments in (whole, parts):
        assert moments.count == 2500
        np.testing.assert_allclose(moments.mean, x.mean(axis=0), rtol=1e-14)
        np.testing.assert_allclose(
            moments.covariance, np.cov(x, rowvar=False), rtol=1e-9, atol=1e-10
        )


def test_memory_of_moments_does_not_grow():
    def peak(batches):
        moments, block = Moments(64), normal(256, 64)
        tracemalloc.start()
        for _ in range(batches):
            moments.update(block)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(40) < 1.1 * peak(2)


def test_frechet_distance_by_hand():
    # one dimension: (μ − μ′)² + (σ − σ′)²; x has mean 1, s.d. √2; y has mean 5, s.d. 2√2
    x, y = np.array([[0.0], [2.0]]), np.array([[3.0], [7.0]])
    assert fid.frechet(x, y) == pytest.approx(16 + 2)
    # independent axes add up
    a, b = Moments(2), Moments(2)
    a.count = b.count = 3
    a.scatter, b.scatter = 2 * np.diag([1.0, 4]), 2 * np.diag([9.0, 4])
    b.mean = np.array([0.0, 3])
    assert fid.frechet_distance(a, b) == pytest.approx(9 + 4)


@pytest.mark.parametrize(("n", "m", "d"), [(200, 300, 12), (8, 9, 30), (8, 100, 30), (31, 32, 30)])
def test_frechet_of_features_is_that_of_their_moments(n, m, d):
    mix = np.random.default_rng(5).standard_normal((d, d))
    x, y = normal(n, d, dtype=float) @ mix, normal(m, d, seed=1, shift=0.3, dtype=float) @ mix
    by_moments = fid.frechet_distance(Moments.of(x), Moments.of(y))
    assert fid.frechet(x, y) == pytest.approx(by_moments, rel=1e-7)
    assert fid.frechet(x, x) == pytest.approx(0, abs=1e-6 * np.trace(np.cov(x, rowvar=False)))


@pytest.mark.parametrize("panel", [7, 24, 256])
def test_the_panels_leave_nothing_out(monkeypatch, panel):
    monkeypatch.setattr(fid, "PANEL", panel)
    x, y = normal(90, 24, dtype=float), normal(80, 24, seed=1, shift=0.3, dtype=float)
    a, b = Moments.of(x), Moments.of(y)
    roots = np.sqrt(np.linalg.eigvals(a.covariance @ b.covariance).real).sum()
    apart = a.mean - b.mean
    expected = apart @ apart + np.trace(a.covariance) + np.trace(b.covariance) - 2 * roots
    assert fid.frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert fid.frechet_distance(b, a) == pytest.approx(expected, rel=1e-9)


def test_frechet_of_features_that_never_change():
    x, y = normal(60, 5, dtype=float), normal(60, 5, seed=1, dtype=float)
    x[:, 2] = y[:, 3] = 1.0
    y[:, 4] = y[:, 0]
    assert np.isfinite(fid.frechet(x, y)) and fid.frechet(x, y) > 0
    flat = np.zeros((60, 5))
    assert fid.frechet(x, flat) == pytest.approx(
        (x.mean(0) ** 2).sum() + np.trace(np.cov(x, rowvar=False))
    )


@pytest.mark.parametrize("n", [3, 40])
def test_features_that_are_no_numbers_give_none(n):
    """`evaluate` says in a sentence which figure is no number; a solver's exception would be a traceback."""
    x, y = normal(n, 8), normal(n, 8, seed=1)
    y[1, 2] = np.nan
    with np.errstate(invalid="ignore"):
        assert np.isnan([fid.frechet(x, y), mmd.unbiased_mmd(x, y), cmmd.cmmd(x, y)]).all()
        assert np.isnan(
            [collapse_meters.effective_rank(y), collapse_meters.uniformity(y), diversity.vendi(y)]
        ).all()
        assert np.isnan(diversity.mean_distance(y)).all()


def test_no_metric_asks_scipy():
    """SciPy 1.18 changed `sqrtm`, and CI's Python is too old to see it: so the distances use numpy alone."""

    for module in Path(metrics.__file__).parent.glob("*.py"):
        assert "import scipy" not in module.read_text() and "from scipy" not in module.read_text()


def test_fid_is_refused_with_the_number_it_needs():
    said = str(fid.refusal(180, 128))
    assert (
        said
        == "FID over 180 images would mislead; it needs at least 2,000. Use kid, or raise evaluate.images."
    )
    assert "at least 2,049" in str(fid.refusal(2000, 2048)) and fid.refusal(2000, 128) is None
    some = [SimpleNamespace(id=str(n), captions=("a",)) for n in range(30)]
    with pytest.raises(
        WorkError, match="FID over 500 images would mislead; it needs at least 2,000"
    ):
        Fid().check(EvalSet(None, some, Evaluate(), Generate()))
    with pytest.raises(WorkError, match="FID over 30 real images"):
        Fid().check(EvalSet(None, some, Evaluate(images=2000), Generate()))


def test_cmmd_by_hand():
    x, y = np.array([[1.0, 0], [0, 1]]), np.array([[1.0, 0], [-1, 0]])
    k = lambda squared: np.exp(-squared / 200)  # noqa: E731
    cross = (k(0) + k(4) + k(2) + k(2)) / 4
    assert cmmd.cmmd(x, y) == pytest.approx(1000 * (k(2) + k(4) - 2 * cross))
    biased = (1 + k(2)) / 2 + (1 + k(4)) / 2 - 2 * cross
    assert cmmd.cmmd(x, y, biased=True) == pytest.approx(1000 * biased)


def test_resampled_mmd_of_all_is_the_mmd():
    x, y = normal(1300), normal(1100, shift=0.1, seed=1)
    ones = (np.ones((1, len(x))), np.ones((1, len(y))))
    assert mmd.mmd_draws(x, y, *ones)[0] == pytest.approx(mmd.unbiased_mmd(x, y), rel=1e-9)
    # a resample is the figure of its images, a twice drawn one being no pair with itself
    counts = np.array([[2, 1, 0]])
    x, y, d = x[:3].astype(float), y[:3].astype(float), 16
    k = lambda a, b: (a @ b.T / d + 1) ** 3  # noqa: E731
    own = [k(z, z)[0, 1] for z in (x, y)]  # the only pairs are those of images 0 and 1
    cross = (np.outer(counts, counts) * k(x, y)).sum() / 9
    assert mmd.mmd_draws(x, y, counts, counts)[0] == pytest.approx(sum(own) - 2 * cross)


@pytest.mark.parametrize("draw", [kid.kid_draws, cmmd.cmmd_draws, fid.fid_draws])
def test_bootstrap_of_a_distance_spreads_as_fresh_samples_do(draw):
    make = lambda n, seed, shift=0.0: unit(normal(n, 8, seed, shift))  # noqa: E731
    one = {kid.kid_draws: mmd.unbiased_mmd, cmmd.cmmd_draws: cmmd.cmmd, fid.fid_draws: fid.frechet}[
        draw
    ]
    fresh = [one(make(150, 2 * s), make(150, 2 * s + 1, 0.5)) for s in range(60)]
    found = draw(make(150, 0), make(150, 1, 0.5), draws=100)
    assert found.std() == pytest.approx(np.std(fresh), rel=0.4)


def test_two_models_distances_are_compared_by_the_same_draws():
    real, base, tuned = normal(200), normal(200, seed=1, shift=0.4), normal(200, seed=1, shift=0.2)
    draws = [kid.kid_draws(real, x, 200) for x in (base, tuned)]
    figures = [mmd.unbiased_mmd(real, x) for x in (base, tuned)]
    assert statistics.paired_draws(*figures, *draws, 200).verdict == "better"
    assert statistics.paired_draws(*figures[::-1], *draws[::-1], 200).verdict == "worse"
    again = kid.kid_draws(real, base[::-1], 200)
    level = statistics.paired_draws(figures[0], figures[0], draws[0], again, 200)
    assert level.verdict == "not distinguishable" and level.p > 0.5


def test_a_distance_of_equal_models_is_told_apart_one_time_in_twenty():
    """Views of a product go wrong together: resampled image by image, 37 % of these would be told apart."""
    rng, told, product = np.random.default_rng(0), 0, np.repeat(np.arange(20), 8)
    for _ in range(60):
        shop = rng.standard_normal((20, 16))
        base, tuned = (0.9 * shop + 0.3 * rng.standard_normal(shop.shape) + 0.6 for _ in range(2))
        real, *drawn = (
            x[product] + 0.2 * rng.standard_normal((160, 16)) for x in (shop, base, tuned)
        )
        draws = [kid.kid_draws(real, x, 100, groups=(product, product)) for x in drawn]
        figures = [mmd.unbiased_mmd(real, x) for x in drawn]
        told += statistics.paired_draws(*figures, *draws, 160, 20).verdict != "not distinguishable"
    assert told <= 9  # 3 expected; 9 or fewer with 99.9 %


def test_a_product_is_resampled_on_both_sides():
    real, drawn = statistics.both_sides(4, 3, 50, 0, (["a", "a", "b", "c"], ["b", "a", "b"]))
    assert (real[:, 0] == real[:, 1]).all() and (drawn[:, 0] == drawn[:, 2]).all()
    assert (real[:, 2] == drawn[:, 0]).all() and (real[:, 0] == drawn[:, 1]).all()
    none = np.flatnonzero(drawn.sum(axis=1) == 0)
    found = mmd.mmd_draws(normal(4), normal(3, seed=1), real, drawn)
    assert len(none) and np.isnan(found[none]).all(), (
        "a resample without a drawn image has no figure"
    )


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
        levels = {"real": {"kid": 1.0}, "noise": {"kid": noise}}
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
    assert found.references["real"]["kid"] == 1 and found.references["noise"]["kid"] == 5 / 2, (
        "√(3² + 4²)/2"
    )


# ---------------------------------------------------------------- manifolds, prompts, copies


def test_manifolds_by_hand():
    real, drawn = np.array([[0.0], [1], [3]]), np.array([[0.5], [3.5], [10]])
    # to the nearest other one: real 1, 1, 2; drawn 3, 3, 6.5
    assert precision_recall.radii(real, 1).tolist() == [1, 1, 4]
    found = precision_recall.manifolds(real, drawn, k=1)
    assert found.precise.tolist() == [True, True, False]
    assert found.dense.tolist() == [
        2,
        1,
        0,
    ]  # 0.5 in the balls of 0 and 1, and not of 3 (2.5 away); 3.5 in that of 3
    assert found.recalled.tolist() == [True, True, True] and found.covered.tolist() == [
        True,
        True,
        True,
    ]
    assert precision_recall.figures(found) == pytest.approx(
        dict(precision=2 / 3, recall=1, density=1, coverage=1)
    )
    with pytest.raises(ValueError, match="no 3-th neighbour"):
        precision_recall.manifolds(real, drawn)


def test_manifolds_in_blocks(monkeypatch):
    real, drawn = normal(150), normal(130, seed=1, shift=0.3)
    whole = precision_recall.manifolds(real, drawn)
    monkeypatch.setattr(precision_recall, "BLOCK", 1000)
    for one, other in zip(whole, precision_recall.manifolds(real, drawn), strict=True):
        assert (one == other).all()


def test_a_narrow_model_is_precise_and_recalls_little():
    real, narrow = normal(300, 4), 0.3 * normal(300, 4, seed=1)
    found, level = (
        precision_recall.figures(precision_recall.manifolds(real, narrow)),
        precision_recall.halves(real),
    )
    assert found["precision"] > 0.95 and found["recall"] < 0.5 * level["recall"]


def test_r_precision_by_hand():
    prompts = np.eye(4)
    images = unit(np.array([[1.0, 0, 0, 0], [0.5, 0.4, 0, 0], [1, 1, 1, 0], [0, 0, 0, 1]]))
    first, own = r_precision.distinct(["a", "b", "c", "d"])
    assert r_precision.found_first(images, prompts, own).tolist() == [1, 0, 0, 1]
    # of one other prompt: 1 is beaten by a third of them, 2 ties with two thirds
    found = r_precision.found_first(images, prompts, own, candidates=2)
    assert found == pytest.approx([1, 2 / 3, 1 / 3, 1])
    first, own = r_precision.distinct(["a", "b", "a"])
    assert first.tolist() == [0, 1] and own.tolist() == [0, 1, 0]
    assert (
        r_precision.chance(["a", "b", "a"]) == 1 / 2
        and r_precision.chance(map(str, range(500))) == 1 / 100
    )


def test_r_precision_of_strangers_is_chance():
    own = np.arange(300)
    found = r_precision.found_first(unit(normal(300)), unit(normal(300, seed=1)), own)
    assert found.mean() == pytest.approx(1 / 100, abs=0.01)
    assert r_precision.found_first(np.ones((3, 4)), np.ones((3, 4)), own[:3]).tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="two prompts"):
        r_precision.found_first(np.ones((1, 4)), np.ones((1, 4)), own[:1])


def test_diversity_by_hand():
    three = np.array([[1.0, 0], [0, 1], [-1, 0]])  # distances 1, 2, 1
    assert diversity.mean_distance(three)[0] == pytest.approx(4 / 3)
    assert diversity.mean_distance(three, np.array([[2, 1, 0], [3, 0, 0]])) == pytest.approx(
        [1, np.nan], nan_ok=True
    )
    assert diversity.within(three, ["a", "a", "b"]) == pytest.approx([1])
    assert diversity.vendi(np.eye(5)) == pytest.approx(5) and diversity.vendi(
        np.ones((5, 1))
    ) == pytest.approx(1)
    around = diversity.diversity(unit(normal(60)))
    assert around.low < around.value < around.high and around.items == 60


def test_prompt_sensitivity_by_hand():
    e = np.eye(4)
    # the seed decides: both prompts draw the same; the prompt decides: both seeds draw the same
    assert diversity.prompt_sensitivity(np.array([[e[0], e[1]], [e[0], e[1]]])) == 0
    assert diversity.prompt_sensitivity(np.array([[e[0], e[0]], [e[1], e[1]]])) == np.inf
    assert diversity.prompt_sensitivity(np.array([[e[0], e[1]], [e[2], e[3]]])) == pytest.approx(1)
    grid = unit(normal(20 * 5, 8).reshape(20, 5, 8) + 2 * normal(20, 8, seed=1)[:, None])
    draws = diversity.sensitivity_draws(grid, draws=100)
    assert 1 < np.quantile(draws, 0.1) < diversity.prompt_sensitivity(grid) * 1.5


def test_near_copies_are_found_and_new_images_are_not():
    training, new, fresh = (unit(normal(n, 12, seed)) for n, seed in ((500, 0), (300, 1), (400, 2)))
    copies = unit(training[:20] + 0.02 * normal(20, 12, seed=3))
    clean = near_copies.near_copies(fresh, training, new)
    assert clean.rate < 0.03 and not clean.more_than_chance and clean.share == 0.01
    found = near_copies.near_copies(np.concatenate([fresh, copies]), training, new)
    assert found.more_than_chance
    assert {(400 + i, i) for i in range(20)} <= {(d, t) for d, t, _ in found.pairs}
    assert found.pairs[0][2] == max(c for *_, c in found.pairs)


def test_the_threshold_holds_for_any_number_of_held_out_images():
    assert near_copies.threshold(np.arange(100) / 100, 0.05) == 0.95  # the 96th of 100
    assert (
        near_copies.threshold(np.arange(19) / 100, 0.05) == 0.18
        and near_copies.threshold(np.zeros(18), 0.05) == np.inf
    )
    few = near_copies.near_copies(unit(normal(5)), unit(normal(9, seed=1)), unit(normal(4, seed=2)))
    assert few.share == 1 / 5 and np.isfinite(few.threshold)
    assert NearCopies.figures and "training_embeds" in NearCopies.reads


# ---------------------------------------------------------------- classes


ROWS = [
    {"colour": c, "title": f"no {i}", "price": i, "cut": "slim" if i else "wide"}
    for i, c in enumerate(["red"] * 6 + ["blue"] * 5 + [" "])
]


def embed(texts):
    """A tower that knows two words."""
    return unit(np.array([[1.0 + 5 * ("red" in t), 1.0 + 5 * ("blue" in t), 0.5] for t in texts]))


def test_attributes_are_columns_with_a_few_values():
    found = attribute_columns.categories(ROWS)
    assert list(found) == ["colour"] and found["colour"][-1] is None
    mixed = [row | {"colour": row["colour"].upper()} if row["price"] % 2 else row for row in ROWS]
    assert attribute_columns.categories(mixed)["colour"] == ["red"] * 6 + ["blue"] * 5 + [None], (
        "spelled as first"
    )
    described = [
        row | {"description": f"A shirt in {row['colour']}, cut from the softest cotton there is."}
        for row in ROWS
    ]
    assert list(attribute_columns.categories(described)) == ["colour"]
    assert classification.class_prompts("sleeve_length", ["long"], ["{attribute} {value}"]) == [
        ["sleeve length long"]
    ]


def test_zero_shot_by_hand():
    images = np.array([[1.0, 0, 0]] * 5 + [[0, 1, 0]] * 6 + [[1, 1, 0]])
    told = classification.tell(
        images, "colour", [row["colour"].strip() or None for row in ROWS], embed
    )
    assert told.confusion.values == ("blue", "red") and told.confusion.matrix.tolist() == [
        [5, 0],
        [1, 5],
    ]
    c = told.confusion
    assert (
        c.accuracy == 10 / 11
        and c.balanced == (1 + 5 / 6) / 2
        and c.chance == 1 / 2
        and c.majority == 6 / 11
    )
    assert zero_shot.accuracy(told).value == 10 / 11
    middle = np.array([[1.0, 1, 0]])
    classes = classification.embed_classes("colour", ["blue", "red"], embed)
    assert classification.classify(middle, classes, np.array([0])) == [1]
    assert classification.classify(middle, classes, np.array([1])) == [0], (
        "a tie is told against the model"
    )
    ensemble = classification.class_embeds(np.array([[[1.0, 0], [0, 1]]]))
    assert ensemble == pytest.approx(np.array([[0.5, 0.5]]) * np.sqrt(2))


def test_only_what_a_prompt_says_is_asked_for():
    prompts = ["A Dark-Red dress", "redwood table", "a plain hat", "blue"]
    assert attributes.asked(prompts, ["dark red", "red", "red", None]) == [
        "dark red",
        None,
        None,
        None,
    ]


def test_attribute_accuracy_by_hand():
    red, blue = np.array([1.0, 0, 0]), np.array([0.0, 1, 0])
    column = ["red", "blue", None, "red"]
    found = attributes.attribute(
        "colour", column, np.array([red, red, red, blue]), np.array([red, blue]), embed
    )
    assert found.images.tolist() == [0, 1, 3] and found.drawn.tolist() == [1, 0, 0]
    assert found.real.tolist() == [1, 1] and found.majority == 2 / 3 and found.told
    assert attributes.accuracy([found]).value == pytest.approx(1 / 3)
    blind = attributes.attribute(
        "colour", column, np.array([red] * 4), np.array([blue, red]), embed
    )
    assert not blind.told


# ---------------------------------------------------------------- collapse


def test_meters_by_hand():
    two = np.array([[1.0, 0], [-1, 0]])
    assert collapse_meters.uniformity(two) == pytest.approx(-8)  # exp(−2·4)
    assert collapse_meters.uniformity(np.ones((3, 1))) == 0
    assert collapse_meters.alignment(two, two[::-1]).tolist() == [4, 4]
    assert collapse_meters.effective_rank(np.eye(4)) == pytest.approx(4)
    assert collapse_meters.effective_rank(np.ones((5, 3))) == pytest.approx(1)
    assert collapse_meters.variances(two).mean() == 1
    assert collapse_meters.margin(np.eye(2), np.eye(2), np.array([0, 1])).tolist() == [1, 1]
    assert collapse_meters.margin(np.eye(2), np.eye(2), np.array([1, 0])).tolist() == [-1, -1]
    both = np.array([[0, 0], [1, 0], [1, 1]])  # image 0 has both of the first two captions
    three = unit(np.array([[1.0, 0], [1, 1], [0, 1]]))
    assert collapse_meters.margin(three[[0, 1]], three, np.array([0, 1]), both) == pytest.approx(
        [1, 1 - np.sqrt(0.5)]
    )
    with pytest.raises(ValueError, match="a wrong caption for every image"):
        collapse_meters.margin(np.eye(2), np.eye(2), np.array([0, 1]), both)
    assert collapse_meters.retention(0.6, 0.9, 0.1) == pytest.approx(5 / 8) and np.isnan(
        collapse_meters.retention(0.5, 0.1, 0.1)
    )
    assert collapse_meters.denoiser_drift(np.array([1.0, 3]), np.array([1.0, 2])) == pytest.approx(
        1 / 5
    )


def test_a_rotation_is_a_drift_and_no_nonrigid_one():
    t0 = unit(normal(50, 6, dtype=float))
    q = np.linalg.qr(normal(6, 6, seed=1, dtype=float))[0]
    assert (
        collapse_meters.drift(t0, t0) == pytest.approx(0, abs=1e-12)
        and collapse_meters.drift(t0 @ q, t0) > 0.3
    )
    assert collapse_meters.nonrigid_drift(t0 @ q, t0) == pytest.approx(0, abs=1e-12)
    assert collapse_meters.nonrigid_drift(np.zeros_like(t0), t0) == 1
    moved = unit(t0 + 0.3 * normal(50, 6, seed=2))
    assert (
        0
        < collapse_meters.nonrigid_drift(moved, t0)
        <= 2 * collapse_meters.drift(moved, t0) + 1e-12
    )
    states = t0.reshape(10, 5, 6)
    assert collapse_meters.drift(states @ q, states) == pytest.approx(
        collapse_meters.drift(t0 @ q, t0)
    )


def test_relation_drift_is_the_anchors():
    torch = pytest.importorskip("torch")
    from unidiff_cli.objectives.anchor import drift

    x, y, x0, y0 = (
        unit(normal(n, d, s, dtype=float))
        for n, d, s in ((7, 5, 0), (9, 5, 1), (7, 4, 2), (9, 4, 3))
    )
    theirs = float(drift(torch.from_numpy(x @ y.T), torch.from_numpy(x0 @ y0.T)))
    assert collapse_meters.relation_drift(x, y, x0, y0) == pytest.approx(theirs, rel=1e-12)
    q = np.linalg.qr(normal(5, 5, seed=1, dtype=float))[0]
    assert collapse_meters.relation_drift(x @ q, y @ q, x, y) == pytest.approx(0, abs=1e-12)


def test_a_collapsed_model_trips_the_meters_and_a_rotated_one_does_not():
    images, texts, own = unit(normal(200, 24)), unit(normal(200, 24, seed=1)), np.arange(200)
    base = collapse_meters.meters(images, texts, own)
    q = np.linalg.qr(normal(24, 24, seed=2))[0]
    rotated = collapse_meters.meters(images @ q, texts @ q, own)
    assert not any(flag.raised for flag in collapse_meters.flags(base, rotated))
    point = unit(np.ones((1, 24)))
    tuned = collapse_meters.meters(unit(point + 0.05 * images), unit(point + 0.05 * texts), own)
    drift = {
        "text_drift": collapse_meters.drift(unit(point + 0.05 * texts), texts),
        "retention": 0.4,
    }
    found = {flag.meter: flag.raised for flag in collapse_meters.flags(base, tuned | drift)}
    assert len(found) == 6 and all(found.values())
    line = np.outer(np.sign(normal(200, 1)[:, 0]), point)  # two points
    assert collapse_meters.effective_rank(line) < 0.7 * base["effective_rank_image"]
    silent = collapse_meters.flags(
        {"prompt_sensitivity": 1.5}, {"prompt_sensitivity": 0.3, "retention": float("nan")}
    )
    assert [flag.raised for flag in silent] == [True, True], "what is no number trips"


def test_a_large_catalogue_is_measured_by_a_part_of_it(monkeypatch):
    rows = [
        SimpleNamespace(id=str(n), captions=(f"a {n}", f"b {n}"), group=str(n), attributes={})
        for n in range(40)
    ]
    eval_set = EvalSet(None, rows, Evaluate(), Generate())
    names = unit(normal(21, seed=5))
    outputs = SimpleNamespace(
        eval_set=eval_set, image_embeds=unit(normal(40)), text_embeds=unit(normal(80, seed=1)),
        probe_image_embeds=names[eval_set.probe.labels], probe_text_embeds=names,
    )  # fmt: skip
    whole = MetricResult.of(Collapse(), outputs)
    assert len(whole.items["margin"].values) == 40 and len(whole.notes) == 1
    del outputs._once
    monkeypatch.setattr(collapse, "MOST", 10)
    calls = []
    monkeypatch.setattr(collapse_meters, "uniformity", lambda x: calls.append(len(x)) or 0.0)
    part = MetricResult.of(Collapse(), outputs)
    some = np.sort(eval_set.order[:10])
    expected = collapse_meters.margin(
        outputs.image_embeds[some], outputs.text_embeds[[c for n in some for c in (2 * n, 2 * n + 1)]],
        2 * np.arange(10), np.array([[2 * n + 1, n] for n in range(10)]),
    )  # fmt: skip
    assert part.items["margin"].values == pytest.approx(expected)
    assert part.items["margin"].groups == [str(n) for n in some]
    assert calls == [10, 20, 210, 21], "each once, however many methods ask"
    assert "over 10 of 40 images" in part.notes[1]


# ---------------------------------------------------------------- images, by the scorer itself


@pytest.fixture(scope="module")
def shop():
    """Sixty drawings in two halves, and an eye for them."""
    from unidiff_cli.evaluation.extractors import scorer

    def one(rng):
        image = Image.new("RGB", (64, 64), tuple(rng.integers(150, 256, 3)))
        pen = ImageDraw.Draw(image)
        for _ in range(6):
            x, y, w, h = rng.integers(4, 40, 4)
            pen.rectangle([x, y, x + w / 2 + 2, y + h / 2 + 2], fill=tuple(rng.integers(0, 256, 3)))
        return image

    rng = np.random.default_rng(0)
    images = [one(rng) for _ in range(120)]
    return images[:60], images[60:], lambda some: scorer().embed_images(some)


def test_real_against_real_is_at_the_noise_floor(shop):
    one, other, eye = shop
    (x, ex), (y, ey) = eye(one), eye(other)
    assert abs(mmd.unbiased_mmd(x, y)) < 4 * kid.noise(
        np.concatenate([x, y]), 60, np.random.RandomState(0)
    )
    assert abs(cmmd.cmmd(ex, ey)) < 4 * cmmd.floor(np.concatenate([ex, ey]), 60)
    whole = np.concatenate([x, y])
    assert fid.frechet(x, y) == pytest.approx(fid.floor(whole, 60) * 120 / 90, rel=0.25)


@pytest.mark.parametrize("spoil", ["blur", "colour"])
def test_what_is_worse_is_further(shop, spoil):
    real, drawn, eye = shop

    def worse(image, by):
        if spoil == "blur":
            return image.filter(ImageFilter.GaussianBlur(by))
        return Image.fromarray((np.asarray(image) * [1, 1 - by / 10, 1 - by / 6]).astype(np.uint8))

    x, ex = eye(real)
    seen = [
        eye([worse(p, by) for p in drawn]) for by in (0, 2, 4, 6)
    ]  # a step of 1 px is below the noise of 60
    for distance in (fid.frechet, mmd.unbiased_mmd):
        assert np.all(np.diff([distance(x, y) for y, _ in seen]) > 0)
    assert np.all(np.diff([cmmd.cmmd(ex, ey) for _, ey in seen]) > 0)


def test_metrics_give_the_figures_they_describe(shop):
    """Every new part end to end on arrays, as `evaluate` calls it."""
    real, drawn, eye = shop
    rows = [
        SimpleNamespace(
            id=str(n), captions=(f"a {('red', 'blue')[n % 2]} item {n}",), group=str(n // 2),
            attributes={"colour": ("red", "blue")[n % 2]},
        )
        for n in range(60)
    ]  # fmt: skip
    learned = SimpleNamespace(rows=lambda split: rows[:50])
    eval_set = EvalSet(learned, rows, Evaluate(images=60), Generate())
    names = unit(normal(21, seed=5))
    eval_set.__class__ = type(
        "WithPhotos", (EvalSet,), {"photos": eval_set.probe}
    )  # as if it named photos
    objects = unit(names[eval_set.probe.labels] + normal(210, seed=4))  # told better than chance
    (x, ex), (y, ey) = eye(real), eye(drawn)
    towers = dict(image_embeds=unit(normal(60)), text_embeds=unit(normal(60, seed=1)))
    outputs = SimpleNamespace(
        eval_set=eval_set, before=None, real_features=x, real_embeds=ex, generated_features=y, generated_embeds=ey,
        prompt_embeds=unit(normal(60, ex.shape[1])), training_embeds=unit(normal(90, ex.shape[1], seed=2)), grid_embeds=unit(normal(24, ex.shape[1], seed=3)).reshape(6, 4, -1),
        probe_image_embeds=objects, probe_text_embeds=names, photo_image_embeds=objects, photo_text_embeds=names,
        probe_predictions=normal(12, seed=6), **towers,
    )  # fmt: skip
    for part in (
        Attributes,
        Cmmd,
        Collapse,
        Diversity,
        Drift,
        kid.Kid,
        NearCopies,
        PrecisionRecall,
        Retention,
        RPrecision,
    ):
        metric = part()
        metric.check(eval_set)
        found = metric.compute(outputs)
        assert set(found) == set(part.figures) and np.isfinite(list(found.values())).all()
        assert all(set(values) <= set(found) for values in metric.references(outputs).values())
        measured = MetricResult.of(metric, outputs)
        around = measured.intervals()
        assert set(around) <= set(found) and all(i.low <= i.high for i in around.values())
        for key, items in measured.items.items():
            assert np.average(items.values, weights=items.weights) == pytest.approx(found[key])
        tests = compared(part.figures, measured, measured)
        assert set(tests) == set(around)
        assert all(t.verdict == "not distinguishable" and t.difference == 0 for t in tests.values())
        assert json.dumps(measured.shows, allow_nan=False)
        assert all(
            note.endswith(".") and " nan" not in note.replace("nano", "")
            for note in metric.notes(outputs)
        )


def test_zero_shot_asks_the_models_own_text_tower():
    rows = [
        SimpleNamespace(id=str(n), captions=("a",), group=str(n), attributes=ROWS[n])
        for n in range(12)
    ]
    eval_set = EvalSet(None, rows, Evaluate(), Generate())
    outputs = SimpleNamespace(
        eval_set=eval_set,
        captions=lambda name, texts: embed(texts),
        image_embeds=np.array([[1.0, 0, 0]] * 6 + [[0, 1, 0]] * 6),
    )
    assert ZeroShot().compute(outputs) == {"zero_shot": 1, "zero_shot_balanced": 1}
    assert ZeroShot().references(outputs)["chance"]["zero_shot"] == 0.5
    assert (
        set(ZeroShot().per_item(outputs)) == {"zero_shot"}
        and "100.0 % right" in ZeroShot().notes(outputs)[0]
    )
    with pytest.raises(WorkError, match="needs an attribute of 2 to 50 values"):
        ZeroShot().check(EvalSet(None, rows[:4], Evaluate(), Generate()))
