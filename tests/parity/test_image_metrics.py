"""Our metrics against clean-fid, torch-fidelity, prdc and torchmetrics, on the same numbers."""

import inspect
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.linalg

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
def theirs(monkeypatch):
    """clean-fid's `fid`, whose `sqrtm(…, disp=False)` SciPy 1.18 no longer takes: there it returned the root and its error."""
    module = pytest.importorskip("cleanfid.fid")
    if "disp" not in inspect.signature(scipy.linalg.sqrtm).parameters:
        old = SimpleNamespace(
            sqrtm=lambda a, disp=True: (
                scipy.linalg.sqrtm(a) if disp else (scipy.linalg.sqrtm(a), None)
            )
        )
        monkeypatch.setattr(module, "linalg", old)
    return module


@pytest.mark.parametrize(("n", "m", "d"), [(300, 260, 48), (2100, 2300, 128)])
def test_fid_is_clean_fids(theirs, n, m, d):
    x, y = features(n, d), features(m, d, seed=1, shift=0.1)
    expected = theirs.frechet_distance(*statistics(x), *statistics(y))
    assert fid.frechet(x, y) == pytest.approx(expected, rel=RELATIVE)
    assert fid.frechet_distance(Moments.of(x), Moments.of(y)) == pytest.approx(
        expected, rel=RELATIVE
    )


@pytest.mark.parametrize(("n", "m"), [(300, 260), (30, 40), (30, 300)])
def test_fid_is_torch_fidelitys(n, m):
    """Fewer images than features too: theirs takes eigenvalues of the singular product, ours the images' own."""
    theirs = pytest.importorskip("torch_fidelity.metric_fid")
    torch = pytest.importorskip("torch")
    x, y = features(n), features(m, seed=1, shift=0.1)
    both = [theirs.fid_features_to_statistics(torch.from_numpy(z.astype(float))) for z in (x, y)]
    expected = theirs.fid_statistics_to_metric(*both, verbose=False)[theirs.KEY_METRIC_FID]
    assert fid.frechet(x, y) == pytest.approx(expected, rel=RELATIVE)


def test_kid_is_torch_fidelitys():
    """On one subset that is the whole: their subsets are drawn with their own generator."""
    theirs = pytest.importorskip("torch_fidelity.metric_kid")
    x, y = features(200), features(200, seed=1, shift=0.1)
    ours = mmd.unbiased_mmd(x, y)
    kernels = [mmd.cubic(a.astype(float), b.astype(float)) for a, b in ((x, x), (x, y), (y, y))]
    assert ours == pytest.approx(theirs.mmd2(*kernels), rel=RELATIVE)
    torch = pytest.importorskip("torch")
    found = theirs.kid_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(y), kid_subsets=1, kid_subset_size=200, verbose=False
    )
    assert ours == pytest.approx(
        found[theirs.KEY_METRIC_KID_MEAN], rel=1e-4
    )  # theirs is in float32


def test_kid_of_a_resample_is_clean_fids():
    theirs = pytest.importorskip("cleanfid.fid")
    x, y = features(150).astype(float), features(150, seed=1, shift=0.1).astype(float)
    np.random.seed(0)
    expected = theirs.kernel_distance(x, y, num_subsets=1, max_subset_size=150)
    assert mmd.mmd_draws(x, y, np.ones((1, 150)), np.ones((1, 150)))[0] == pytest.approx(
        expected, rel=RELATIVE
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Matrix is singular")
def test_fid_and_kid_of_one_random_inception_are_clean_fids(theirs, tmp_path):
    """Clean-fid's whole way from files, with a random Inception cut to 16 features (SciPy 1.18 finds no root of a nearly singular product)."""
    from PIL import Image
    from torch import from_numpy, manual_seed, nn, no_grad, rand
    from torchvision.models import inception_v3

    resize = pytest.importorskip("cleanfid.resize").build_resizer("clean")
    manual_seed(0)
    network = inception_v3(weights=None, init_weights=False, aux_logits=False)
    network.fc = network.dropout = nn.Identity()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = (
                1.0  # one batch sets the scale: as it is initialised, the signal dies on the way
            )
    with no_grad():
        network.train()(rand(8, 3, 299, 299) * 2 - 1)
    network.eval()

    def extract(batch):  # (B, 3, 299, 299), 0 … 255
        with no_grad():
            return network(batch / 128 - 1)[:, ::128]

    rng, sets = np.random.default_rng(0), {}
    for name, most in (("real", 256), ("drawn", 180)):
        (tmp_path / name).mkdir()
        images = [rng.integers(0, most, (40, 40, 3)).astype(np.uint8) for _ in range(64)]
        for i, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / name / f"{i:03d}.png")
        pixels = np.stack([resize(p) for p in images])
        sets[name] = np.concatenate(
            [
                extract(from_numpy(pixels[i : i + 16]).permute(0, 3, 1, 2).contiguous()).numpy()
                for i in range(0, 64, 16)
            ]
        )
    options = dict(num_workers=0, batch_size=16, device="cpu", verbose=False)
    files = {n: theirs.get_folder_features(str(tmp_path / n), extract, **options) for n in sets}
    for name, found in sets.items():
        np.testing.assert_allclose(found, files[name], rtol=1e-5, atol=1e-6)
    expected = theirs.frechet_distance(*statistics(files["real"]), *statistics(files["drawn"]))
    assert expected > 0.1
    assert fid.frechet(files["real"], files["drawn"]) == pytest.approx(expected, rel=RELATIVE)
    np.random.seed(0)
    expected = theirs.kernel_distance(
        files["real"].astype(float), files["drawn"].astype(float), num_subsets=1
    )
    assert mmd.unbiased_mmd(files["real"], files["drawn"]) == pytest.approx(expected, rel=RELATIVE)


def test_the_scorers_resize_is_clean_fids_bit_for_bit():
    make_resizer = pytest.importorskip("cleanfid.resize").make_resizer
    from unidiff_cli.evaluation.extractors import scorer

    theirs = make_resizer("PIL", False, "bicubic", (scorer().image_size,) * 2)
    rng = np.random.default_rng(0)
    for side in (20, 64, 97, 512):
        image = rng.integers(0, 256, (side, side, 3)).astype(np.uint8)
        assert (scorer()._resize(image) == theirs(image)).all()


# ---------------------------------------------------------------- CMMD


def test_cmmd_is_the_authors():
    """google-research/cmmd, distance.py: biased, σ = 10, ×1000; written out, since it needs JAX."""
    x, y = (
        z / np.linalg.norm(z, axis=1, keepdims=True)
        for z in (features(200), features(150, seed=1, shift=0.2))
    )
    k = lambda a, b: np.exp(-((a[:, None].astype(float) - b[None]) ** 2).sum(-1) / 200).mean()  # noqa: E731
    assert cmmd.cmmd(x, y, biased=True) == pytest.approx(
        1000 * (k(x, x) + k(y, y) - 2 * k(x, y)), rel=RELATIVE
    )


# ---------------------------------------------------------------- precision and recall


def test_precision_recall_density_coverage_are_prdcs():
    theirs = pytest.importorskip("prdc")
    real, drawn = features(300), features(260, seed=1, shift=0.1)
    for k in (3, 5):
        expected = theirs.compute_prdc(real.astype(float), drawn.astype(float), k)
        assert precision_recall.figures(
            precision_recall.manifolds(real, drawn, k)
        ) == pytest.approx(expected, rel=RELATIVE)


def test_precision_and_recall_are_torch_fidelitys():
    theirs = pytest.importorskip("torch_fidelity.metric_prc")
    torch = pytest.importorskip("torch")
    real, drawn = features(300), features(260, seed=1, shift=0.1)
    precision, recalled = theirs.calculate_precision_recall_full(
        torch.from_numpy(drawn.astype(float)), torch.from_numpy(real.astype(float))
    )
    found = precision_recall.figures(precision_recall.manifolds(real, drawn))
    assert (found["precision"], found["recall"]) == pytest.approx(
        (precision, recalled), rel=RELATIVE
    )


# ---------------------------------------------------------------- retrieval


def test_recall_and_average_precision_are_torchmetrics():
    theirs = pytest.importorskip("torchmetrics.functional.retrieval")
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    queries, answers = (
        z / np.linalg.norm(z, axis=1, keepdims=True) for z in rng.standard_normal((2, 60, 8))
    )
    pairs = np.concatenate([[[q, q] for q in range(60)], rng.integers(0, 60, (60, 2))])
    found = ranking.ranked(queries, answers, pairs)
    target = torch.zeros(60, 60, dtype=torch.bool)
    target[pairs[:, 0], pairs[:, 1]] = True
    scores = torch.from_numpy(queries @ answers.T)
    for k in recall.KS:
        expected = [
            float(theirs.retrieval_hit_rate(s, t, top_k=k))
            for s, t in zip(scores, target, strict=True)
        ]
        assert ranking.hits(found.rank, k).tolist() == expected
    # theirs drops right answers whose score is not above 0 (1.9), which a cosine may be: moved up, the order stays
    expected = [
        float(theirs.retrieval_average_precision(s + 1, t))
        for s, t in zip(scores, target, strict=True)
    ]
    assert found.precision == pytest.approx(expected, rel=RELATIVE)
