"""MMD, KID, CMMD and FID: by hand, in blocks, resampled, and between equal distributions."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from tests.support.evaluation import eval_set_of, normal, rows_of, unit
from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation import metrics, mmd, statistics
from unidiff_cli.evaluation.extractors import scorer
from unidiff_cli.evaluation.metrics import cmmd, fid, kid
from unidiff_cli.evaluation.metrics.fid import Fid, Moments
from unidiff_cli.evaluation.metrics.kid import Kid

# ---------------------------------------------------------------- MMD and KID


def test_mmd_by_hand():
    # One dimension, k(a, b) = (ab + 1)³: within x = (0, 1) and y = (0, 2) 1 and 1,
    # between them (1 + 1 + 1 + 27)/4.
    x, y = np.array([[0.0], [1.0]]), np.array([[0.0], [2.0]])
    assert mmd.unbiased_mmd(x, y) == pytest.approx(1 + 1 - 2 * 30 / 4)


def cubic_kernel(x, y):
    return (x.astype(float) @ y.T / x.shape[1] + 1) ** 3


def test_mmd_in_blocks_is_that_of_the_whole_kernel():
    x, y = normal(1500), normal(1100, shift=0.1, seed=1)
    within = 0
    for z in (x, y):
        k = cubic_kernel(z, z)
        within += (k.sum() - np.trace(k)) / (len(z) * (len(z) - 1))
    expected = within - 2 * cubic_kernel(x, y).mean()
    assert mmd.unbiased_mmd(x, y) == pytest.approx(expected, rel=1e-9)


def test_resampled_mmd_of_every_image_once_is_the_mmd():
    x, y = normal(1300), normal(1100, shift=0.1, seed=1)
    ones = np.ones((1, len(x))), np.ones((1, len(y)))
    expected = mmd.unbiased_mmd(x, y)
    assert mmd.bootstrap_mmd(x, y, *ones)[0] == pytest.approx(expected, rel=1e-9)


def test_an_image_that_is_in_a_resample_twice_is_no_pair_with_itself():
    counts = np.array([[2, 1, 0]])
    x, y = normal(3, dtype=float), normal(3, shift=0.1, seed=1, dtype=float)
    # The only pairs within a side are those of images 0 and 1.
    within = sum(cubic_kernel(z, z)[0, 1] for z in (x, y))
    between = (np.outer(counts, counts) * cubic_kernel(x, y)).sum() / 9
    expected = within - 2 * between
    assert mmd.bootstrap_mmd(x, y, counts, counts)[0] == pytest.approx(expected)


@pytest.mark.parametrize(("n", "m", "size"), [(64, 64, 1000), (300, 260, 100)])
def test_kid_is_clean_fids(n, m, size):
    """Same features, same subsets: clean-fid samples from numpy's global state."""
    clean_fid = pytest.importorskip("cleanfid.fid")
    real, generated = normal(n).astype(float), normal(m, shift=0.2, seed=1).astype(float)
    np.random.seed(3)
    expected = clean_fid.kernel_distance(real, generated, num_subsets=10, max_subset_size=size)
    rng = np.random.RandomState(3)
    distance = kid.kernel_distance(real, generated, rng, subsets=10, size=size)
    assert distance == pytest.approx(expected, rel=1e-9)


def test_kid_grows_with_the_shift():
    rng = np.random.RandomState(0)
    real = normal(200)
    level = mmd.null_level(mmd.unbiased_mmd, real, 100, rng)
    assert abs(kid.kernel_distance(real, normal(200, seed=5), rng)) < 4 * level
    distances = [
        kid.kernel_distance(real, normal(200, shift=shift, seed=5), rng)
        for shift in (0.1, 0.3, 0.9)
    ]
    assert 0 < distances[0] < distances[1] < distances[2]


def test_the_null_level_is_the_size_of_kid_between_equals():
    rng, features = np.random.RandomState(1), normal(400)
    distances = []
    for _ in range(100):
        order = rng.permutation(400)
        distances.append(mmd.unbiased_mmd(features[order[:40]], features[order[40:160]]))
    expected = float(np.sqrt(np.mean(np.square(distances))))
    rng = np.random.RandomState(0)
    level = mmd.null_level(mmd.unbiased_mmd, features[:120], 40, rng, splits=100)
    assert level == pytest.approx(expected, rel=0.3)


def test_kid_refuses_a_single_image():
    with pytest.raises(WorkError, match="KID needs 2 images.*1 generated and 2 real"):
        Kid().check(eval_set_of(rows_of("a", "b"), images=1))
    Kid().check(eval_set_of(rows_of("a", "b"), images=2))


# ---------------------------------------------------------------- CMMD


def test_cmmd_by_hand():
    x, y = np.array([[1.0, 0], [0, 1]]), np.array([[1.0, 0], [-1, 0]])

    def k(squared):
        return np.exp(-squared / 200)

    between = (k(0) + k(4) + k(2) + k(2)) / 4
    assert cmmd.cmmd(x, y) == pytest.approx(1000 * (k(2) + k(4) - 2 * between))


# ---------------------------------------------------------------- FID


def test_moments_are_numpys_however_they_come():
    x = normal(2500, 6, shift=1e4, dtype=float)
    whole, parts = Moments.of(x), Moments(6)
    for start, stop in ((0, 1), (1, 900), (900, 900), (900, 2500)):
        parts.update(x[start:stop])
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
        memory = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return memory

    assert peak(40) < 1.1 * peak(2)


def test_frechet_distance_by_hand():
    # One dimension: (μ − μ′)² + (σ − σ′)². x has mean 1 and s.d. √2, y mean 5 and s.d. 2√2.
    x, y = np.array([[0.0], [2.0]]), np.array([[3.0], [7.0]])
    assert fid.frechet(x, y) == pytest.approx(16 + 2)


def test_frechet_distance_of_independent_axes_adds_up():
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
    expected = (x.mean(0) ** 2).sum() + np.trace(np.cov(x, rowvar=False))
    assert fid.frechet(x, np.zeros((60, 5))) == pytest.approx(expected)


def test_fid_is_refused_with_the_number_it_needs():
    assert str(fid.refusal(180, 128)) == (
        "FID over 180 images would mislead; it needs at least 2,000. "
        "Use kid, or raise evaluate.images."
    )
    assert "at least 2,049" in str(fid.refusal(2000, 2048))
    assert fid.refusal(2000, 128) is None


def test_fid_checks_generated_and_real_images():
    rows = rows_of(*["a"] * 30)
    sentence = "FID over 500 images would mislead; it needs at least 2,000"
    with pytest.raises(WorkError, match=sentence):
        Fid().check(eval_set_of(rows))
    with pytest.raises(WorkError, match="FID over 30 real images"):
        Fid().check(eval_set_of(rows, images=2000))


def test_no_metric_imports_scipy():
    """SciPy 1.18 changed `sqrtm`, so the distances use numpy alone."""
    for module in Path(metrics.__file__).parent.glob("*.py"):
        assert "import scipy" not in module.read_text()
        assert "from scipy" not in module.read_text()


# ---------------------------------------------------------------- all of them


@pytest.mark.parametrize("distance", [fid.frechet, mmd.unbiased_mmd, cmmd.cmmd])
@pytest.mark.parametrize("n", [3, 40])
def test_features_that_are_not_numbers_give_nan(distance, n):
    """`evaluate` names the figure in a sentence; a solver's exception would be a traceback."""
    x, y = normal(n, 8), normal(n, 8, seed=1)
    y[1, 2] = np.nan
    with np.errstate(invalid="ignore"):
        assert np.isnan(distance(x, y))


BOOTSTRAPS = {
    kid.bootstrap_kid: mmd.unbiased_mmd,
    cmmd.bootstrap_cmmd: cmmd.cmmd,
    fid.bootstrap_fid: fid.frechet,
}


@pytest.mark.parametrize("bootstrap", BOOTSTRAPS)
def test_bootstrap_of_a_distance_spreads_as_fresh_samples_do(bootstrap):
    def sample(seed, shift=0.0):
        return unit(normal(150, 8, seed, shift))

    distance = BOOTSTRAPS[bootstrap]
    fresh = [distance(sample(2 * s), sample(2 * s + 1, 0.5)) for s in range(60)]
    resampled = bootstrap(sample(0), sample(1, 0.5), 100)
    assert resampled.std() == pytest.approx(np.std(fresh), rel=0.4)


def test_two_models_distances_are_compared_by_the_same_resamples():
    real, base, tuned = normal(200), normal(200, seed=1, shift=0.4), normal(200, seed=1, shift=0.2)
    samples = [kid.bootstrap_kid(real, x, 200) for x in (base, tuned)]
    figures = [mmd.unbiased_mmd(real, x) for x in (base, tuned)]
    assert statistics.paired_bootstrap(*figures, *samples, 200).verdict == "better"
    assert statistics.paired_bootstrap(*figures[::-1], *samples[::-1], 200).verdict == "worse"
    again = kid.bootstrap_kid(real, base[::-1], 200)
    same = statistics.paired_bootstrap(figures[0], figures[0], samples[0], again, 200)
    assert same.verdict == "not distinguishable" and same.p > 0.5


def test_a_distance_of_equal_models_differs_one_time_in_twenty():
    """Views of a product go wrong together: resampled one by one, 37 % of these would differ."""
    rng, different, product = np.random.default_rng(0), 0, np.repeat(np.arange(20), 8)
    for _ in range(60):
        shop = rng.standard_normal((20, 16))
        base, tuned = (0.9 * shop + 0.3 * rng.standard_normal(shop.shape) + 0.6 for _ in range(2))
        real, *generated = (
            x[product] + 0.2 * rng.standard_normal((160, 16)) for x in (shop, base, tuned)
        )
        samples = [kid.bootstrap_kid(real, x, 100, groups=(product, product)) for x in generated]
        figures = [mmd.unbiased_mmd(real, x) for x in generated]
        test = statistics.paired_bootstrap(*figures, *samples, 160, 20)
        different += test.verdict != "not distinguishable"
    # 3 expected; 9 or fewer with 99.9 %.
    assert different <= 9


def test_a_resample_without_a_generated_image_has_no_mmd():
    real, generated = statistics.both_sides(4, 3, 50, 0, (["a", "a", "b", "c"], ["b", "a", "b"]))
    empty = np.flatnonzero(generated.sum(axis=1) == 0)
    distances = mmd.bootstrap_mmd(normal(4), normal(3, seed=1), real, generated)
    assert len(empty) and np.isnan(distances[empty]).all()


# ---------------------------------------------------------------- images, by the scorer itself


@pytest.fixture(scope="module")
def shop():
    """Two halves of 60 images of rectangles."""

    def image(rng):
        canvas = Image.new("RGB", (64, 64), tuple(rng.integers(150, 256, 3)))
        pen = ImageDraw.Draw(canvas)
        for _ in range(6):
            x, y, w, h = rng.integers(4, 40, 4)
            pen.rectangle([x, y, x + w / 2 + 2, y + h / 2 + 2], fill=tuple(rng.integers(0, 256, 3)))
        return canvas

    rng = np.random.default_rng(0)
    images = [image(rng) for _ in range(120)]
    return images[:60], images[60:]


def test_real_against_real_images_is_at_the_null_level(shop):
    (x, ex), (y, ey) = (scorer().embed_images(half) for half in shop)
    features, embeds = np.concatenate([x, y]), np.concatenate([ex, ey])
    kid_level = mmd.null_level(mmd.unbiased_mmd, features, 60, np.random.RandomState(0))
    assert abs(mmd.unbiased_mmd(x, y)) < 4 * kid_level
    cmmd_level = mmd.null_level(cmmd.cmmd, embeds, 60, np.random.default_rng(0))
    assert abs(cmmd.cmmd(ex, ey)) < 4 * cmmd_level
    assert fid.frechet(x, y) == pytest.approx(fid.null_level(features, 60) * 120 / 90, rel=0.25)


def blurred(image, by):
    return image.filter(ImageFilter.GaussianBlur(by))


def discoloured(image, by):
    return Image.fromarray((np.asarray(image) * [1, 1 - by / 10, 1 - by / 6]).astype(np.uint8))


@pytest.mark.parametrize("spoil", [blurred, discoloured])
def test_worse_images_are_further(shop, spoil):
    real, generated = shop
    x, ex = scorer().embed_images(real)
    # A step of 1 px is below the noise of 60 images.
    spoilt = [
        scorer().embed_images([spoil(image, by) for image in generated]) for by in (0, 2, 4, 6)
    ]
    for distance in (fid.frechet, mmd.unbiased_mmd):
        assert np.all(np.diff([distance(x, y) for y, _ in spoilt]) > 0)
    assert np.all(np.diff([cmmd.cmmd(ex, ey) for _, ey in spoilt]) > 0)
