"""The metrics against clean-fid, torch-fidelity, prdc and torchmetrics, on the same numbers."""

import inspect
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.linalg

from tests.support.evaluation import unit
from unidiff_cli.evaluation import mmd, ranking
from unidiff_cli.evaluation.metrics import cmmd, fid, precision_recall, recall
from unidiff_cli.evaluation.metrics.fid import Moments

RELATIVE = 1e-6


def features(n, d=48, seed=0, shift=0.0):
    """Like a network's: not negative, correlated, of falling variance."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(9).standard_normal((d, d)) * np.geomspace(1, 1e-2, d)[:, None]
    return np.maximum(0, rng.standard_normal((n, d)) @ mix + 0.5 + shift).astype(np.float32)


def statistics(x):
    return x.astype(float).mean(axis=0), np.cov(x.astype(float), rowvar=False)


# ---------------------------------------------------------------- FID and KID


@pytest.fixture
def clean_fid(monkeypatch):
    """clean-fid's `fid` on any SciPy.

    It calls `sqrtm(…, disp=False)`, which returned the root and its error and which SciPy 1.18 no
    longer takes.
    """
    module = pytest.importorskip("cleanfid.fid")
    if "disp" not in inspect.signature(scipy.linalg.sqrtm).parameters:
        linalg = SimpleNamespace(
            sqrtm=lambda a, disp=True: (
                scipy.linalg.sqrtm(a) if disp else (scipy.linalg.sqrtm(a), None)
            )
        )
        monkeypatch.setattr(module, "linalg", linalg)
    return module


@pytest.mark.parametrize(("n", "m", "d"), [(300, 260, 48), (2100, 2300, 128)])
def test_fid_is_clean_fids(clean_fid, n, m, d):
    x, y = features(n, d), features(m, d, seed=1, shift=0.1)
    expected = clean_fid.frechet_distance(*statistics(x), *statistics(y))
    by_moments = fid.frechet_distance(Moments.of(x), Moments.of(y))
    assert fid.frechet(x, y) == pytest.approx(expected, rel=RELATIVE)
    assert by_moments == pytest.approx(expected, rel=RELATIVE)


@pytest.mark.parametrize(("n", "m"), [(300, 260), (30, 40), (30, 300)])
def test_fid_is_torch_fidelitys(n, m):
    """With fewer images than features too, where it takes eigenvalues of the singular product."""
    fidelity = pytest.importorskip("torch_fidelity.metric_fid")
    torch = pytest.importorskip("torch")
    x, y = features(n), features(m, seed=1, shift=0.1)
    both = [fidelity.fid_features_to_statistics(torch.from_numpy(z.astype(float))) for z in (x, y)]
    expected = fidelity.fid_statistics_to_metric(*both, verbose=False)[fidelity.KEY_METRIC_FID]
    assert fid.frechet(x, y) == pytest.approx(expected, rel=RELATIVE)


def test_mmd_is_torch_fidelitys():
    fidelity = pytest.importorskip("torch_fidelity.metric_kid")
    x, y = features(200), features(200, seed=1, shift=0.1)
    kernels = [mmd.cubic(a.astype(float), b.astype(float)) for a, b in ((x, x), (x, y), (y, y))]
    assert mmd.unbiased_mmd(x, y) == pytest.approx(fidelity.mmd2(*kernels), rel=RELATIVE)


def test_kid_is_torch_fidelitys():
    """On one subset that is the whole: it picks subsets with its own generator."""
    fidelity = pytest.importorskip("torch_fidelity.metric_kid")
    torch = pytest.importorskip("torch")
    x, y = features(200), features(200, seed=1, shift=0.1)
    figures = fidelity.kid_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(y), kid_subsets=1, kid_subset_size=200, verbose=False
    )
    expected = figures[fidelity.KEY_METRIC_KID_MEAN]
    # It is in float32.
    assert mmd.unbiased_mmd(x, y) == pytest.approx(expected, rel=1e-4)


def test_kid_of_a_resample_is_clean_fids():
    clean_fid = pytest.importorskip("cleanfid.fid")
    x, y = features(150).astype(float), features(150, seed=1, shift=0.1).astype(float)
    np.random.seed(0)
    expected = clean_fid.kernel_distance(x, y, num_subsets=1, max_subset_size=150)
    ones = np.ones((1, 150))
    assert mmd.bootstrap_mmd(x, y, ones, ones)[0] == pytest.approx(expected, rel=RELATIVE)


def random_inception():
    """A random Inception whose signal does not die on the way, cut to 16 features."""
    from torch import manual_seed, nn, no_grad, rand
    from torchvision.models import inception_v3

    manual_seed(0)
    network = inception_v3(weights=None, init_weights=False, aux_logits=False)
    network.fc = network.dropout = nn.Identity()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            # One batch sets the scale.
            layer.momentum = 1.0
    with no_grad():
        network.train()(rand(8, 3, 299, 299) * 2 - 1)
    network.eval()

    def extract(batch):
        """Features (B, 16) of (B, 3, 299, 299), 0 … 255."""
        with no_grad():
            return network(batch / 128 - 1)[:, ::128]

    return extract


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Matrix is singular")
def test_fid_and_kid_of_one_random_inception_are_clean_fids(clean_fid, tmp_path):
    """clean-fid's whole way from files.

    Of 16 features, since SciPy 1.18 finds no root of a nearly singular product.
    """
    from PIL import Image
    from torch import from_numpy

    resize = pytest.importorskip("cleanfid.resize").build_resizer("clean")
    extract = random_inception()
    rng, by_arrays = np.random.default_rng(0), {}
    for name, most in (("real", 256), ("generated", 180)):
        (tmp_path / name).mkdir()
        images = [rng.integers(0, most, (40, 40, 3)).astype(np.uint8) for _ in range(64)]
        for i, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / name / f"{i:03d}.png")
        pixels = np.stack([resize(image) for image in images])
        by_arrays[name] = np.concatenate(
            [
                extract(from_numpy(pixels[i : i + 16]).permute(0, 3, 1, 2).contiguous()).numpy()
                for i in range(0, 64, 16)
            ]
        )
    options = {"num_workers": 0, "batch_size": 16, "device": "cpu", "verbose": False}
    by_files = {
        name: clean_fid.get_folder_features(str(tmp_path / name), extract, **options)
        for name in by_arrays
    }
    for name, array in by_arrays.items():
        np.testing.assert_allclose(array, by_files[name], rtol=1e-5, atol=1e-6)
    real, generated = by_files["real"], by_files["generated"]
    expected = clean_fid.frechet_distance(*statistics(real), *statistics(generated))
    assert expected > 0.1
    assert fid.frechet(real, generated) == pytest.approx(expected, rel=RELATIVE)
    np.random.seed(0)
    expected = clean_fid.kernel_distance(real.astype(float), generated.astype(float), num_subsets=1)
    assert mmd.unbiased_mmd(real, generated) == pytest.approx(expected, rel=RELATIVE)


@pytest.mark.parametrize("side", [20, 64, 97, 512])
def test_the_scorers_resize_is_clean_fids_bit_for_bit(side):
    make_resizer = pytest.importorskip("cleanfid.resize").make_resizer
    from unidiff_cli.evaluation.extractors import scorer

    resize = make_resizer("PIL", False, "bicubic", (scorer().image_size,) * 2)
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3)).astype(np.uint8)
    assert (scorer()._resize(image) == resize(image)).all()


# ---------------------------------------------------------------- CMMD


def test_cmmd_is_the_authors():
    """google-research/cmmd, distance.py, σ = 10, ×1000; written out, since it needs JAX.

    It leaves each image's pair with itself in, k(x, x) = 1. Over pairs of different images the mean
    kernel is (n k̄ − 1)/(n − 1), and so the unbiased figure.
    """
    x, y = unit(features(200)), unit(features(150, seed=1, shift=0.2))

    def mean_kernel(a, b):
        squared = ((a[:, None].astype(float) - b[None]) ** 2).sum(-1)
        return np.exp(-squared / 200).mean()

    authors = 1000 * (mean_kernel(x, x) + mean_kernel(y, y) - 2 * mean_kernel(x, y))
    pairs_with_itself = sum((1 - mean_kernel(z, z)) / (len(z) - 1) for z in (x, y))
    expected = authors - 1000 * pairs_with_itself
    assert cmmd.cmmd(x, y) == pytest.approx(expected, rel=RELATIVE)


# ---------------------------------------------------------------- precision and recall


@pytest.mark.parametrize("k", [3, 5])
def test_precision_recall_density_coverage_are_prdcs(k):
    prdc = pytest.importorskip("prdc")
    real, generated = features(300), features(260, seed=1, shift=0.1)
    expected = prdc.compute_prdc(real.astype(float), generated.astype(float), k)
    figures = precision_recall.figures(precision_recall.manifolds(real, generated, k))
    assert figures == pytest.approx(expected, rel=RELATIVE)


def test_precision_and_recall_are_torch_fidelitys():
    fidelity = pytest.importorskip("torch_fidelity.metric_prc")
    torch = pytest.importorskip("torch")
    real, generated = features(300), features(260, seed=1, shift=0.1)
    expected = fidelity.calculate_precision_recall_full(
        torch.from_numpy(generated.astype(float)), torch.from_numpy(real.astype(float))
    )
    figures = precision_recall.figures(precision_recall.manifolds(real, generated))
    assert (figures["precision"], figures["recall"]) == pytest.approx(expected, rel=RELATIVE)


# ---------------------------------------------------------------- retrieval


@pytest.fixture
def retrieval():
    """60 queries and answers, their scores, which are right, and the ranking of them."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    queries, answers = (unit(z) for z in rng.standard_normal((2, 60, 8)))
    pairs = np.concatenate([[[q, q] for q in range(60)], rng.integers(0, 60, (60, 2))])
    right = torch.zeros(60, 60, dtype=torch.bool)
    right[pairs[:, 0], pairs[:, 1]] = True
    scores = torch.from_numpy(queries @ answers.T)
    return scores, right, ranking.rank_answers(queries, answers, pairs)


@pytest.mark.parametrize("k", recall.KS)
def test_recall_is_torchmetrics(retrieval, k):
    torchmetrics = pytest.importorskip("torchmetrics.functional.retrieval")
    scores, right, ranks = retrieval
    expected = [
        float(torchmetrics.retrieval_hit_rate(s, t, top_k=k))
        for s, t in zip(scores, right, strict=True)
    ]
    assert ranking.hits(ranks.rank, k).tolist() == expected


def test_average_precision_is_torchmetrics(retrieval):
    torchmetrics = pytest.importorskip("torchmetrics.functional.retrieval")
    scores, right, ranks = retrieval
    # It drops right answers whose score is not above 0 (1.9), which a cosine may be: moved up, the
    # order stays.
    expected = [
        float(torchmetrics.retrieval_average_precision(s + 1, t))
        for s, t in zip(scores, right, strict=True)
    ]
    assert ranks.average_precision == pytest.approx(expected, rel=RELATIVE)
