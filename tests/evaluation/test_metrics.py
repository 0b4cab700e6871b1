"""The metrics' arithmetic, on matrices a person can check, and against clean-fid."""

from types import SimpleNamespace

import numpy as np
import pytest

from unidiff_cli import registry
from unidiff_cli.config.schema import Evaluate, Generate
from unidiff_cli.data.captions import same_text
from unidiff_cli.errors import WorkError
from unidiff_cli.evaluation.eval_set import EvalSet
from unidiff_cli.evaluation.measure import ORDER
from unidiff_cli.evaluation.metrics import Metric
from unidiff_cli.evaluation.metrics.clip_score import mismatched, scores
from unidiff_cli.evaluation.metrics.kid import Kid, kernel_distance, noise
from unidiff_cli.evaluation.metrics.recall import Recall, chance_recall, recall_both_ways
from unidiff_cli.evaluation.mmd import unbiased_mmd
from unidiff_cli.evaluation.outputs import ModelOutputs
from unidiff_cli.evaluation.ranking import hits, ranked
from unidiff_cli.evaluation.results import MetricResult
from unidiff_cli.reports.evaluation import SIDES

BUILT_IN = (
    "attributes", "clip_score", "cmmd", "collapse", "denoise_loss",
    "diffusion_classifier",
    "diversity", "drift", "fid", "kid", "near_copies", "precision_recall",
    "r_precision", "recall", "retention", "zero_shot",
)  # fmt: skip


def test_every_metric_comes_through_the_door():
    assert registry.names("metrics") == BUILT_IN
    for name in BUILT_IN:
        part = registry.load("metrics", name)
        assert issubclass(part, Metric) and part.reads and part.figures
        assert all(hasattr(ModelOutputs, what) for what in part.reads)
        assert all(f.judges in SIDES for f in part.figures.values()) and name in ORDER
        assert part() == part(), "a metric is plain data"


# ---------------------------------------------------------------- recall

# three queries over four answers, whose vectors are the axes; right ones: 0 → {0}, 1 → {1, 2}, 2 → {3}
SCORES = np.array([[0.9, 0.1, 0.2, 0.3], [0.8, 0.2, 0.5, 0.1], [0.9, 0.8, 0.7, 0.6]])
PAIRS = np.array([[0, 0], [1, 1], [1, 2], [2, 3]])


def rank(scores, pairs=PAIRS):
    return ranked(np.asarray(scores, float), np.eye(np.shape(scores)[1]), pairs).rank


def test_recall_by_hand():
    assert rank(SCORES).tolist() == [0, 1, 3]  # first, behind one, behind three
    assert [hits(rank(SCORES), k).mean() for k in (1, 2, 4)] == pytest.approx([1 / 3, 2 / 3, 1.0])


def test_ties_go_against_the_model():
    assert rank(np.ones((3, 4))).tolist() == [3, 2, 3]  # two wrong ones before query 1's pair
    two_right = np.array([[0, 0], [0, 1]])
    assert rank([[0.5, 0.5, 0.1]], two_right).tolist() == [0]  # a tie among right answers is none


def test_a_score_that_is_no_number_finds_nothing():
    assert (rank(np.full((3, 4), np.nan)) > 0).all()


def test_a_query_without_an_answer_is_never_found():
    assert not hits(rank(np.ones((1, 2)), np.zeros((0, 2), int)), 10).any()


def test_chance_is_what_a_random_order_gives():
    right = np.array([1, 2, 1])
    # C(4-1, 2)/C(4, 2) = 3/6 missed with one right answer, C(2, 2)/C(4, 2) = 1/6 with two
    assert chance_recall(right, 4, (2,)) == pytest.approx({2: (0.5 + 5 / 6 + 0.5) / 3})
    assert chance_recall(right, 4, (10,)) == {10: 1.0}
    rng = np.random.default_rng(0)
    drawn = np.mean([hits(rank(rng.random((3, 4))), 1).mean() for _ in range(2000)])
    assert drawn == pytest.approx(chance_recall(right, 4, (1,))[1], abs=0.02)


def test_equal_captions_are_hits_both_ways():
    images = texts = np.eye(3, dtype=np.float32)
    images = images[
        [1, 0, 2]
    ]  # the first two images answer to each other's place, and their captions are equal
    found = recall_both_ways(images, texts, ["Red  dress", "red dress", "blue hat"])
    assert same_text("Red  dress ") == same_text("red dress")
    assert found["r1_t2i"] == 1.0
    # image 0 lies on the second caption's vector; the list holds "red dress" once, by its first vector
    assert found["r1_i2t"] == pytest.approx(2 / 3)
    assert set(found) == {f"r{k}_{way}" for k in (1, 5, 10) for way in ("t2i", "i2t")}


def test_rounding_of_float32_is_no_knowledge():
    rng = np.random.default_rng(0)
    collapsed = 0.7 + 1e-8 * rng.random((8, 8))
    assert (rank(collapsed, np.stack([np.arange(8)] * 2, axis=1)) == 7).all()


def rows(*captions):
    return [
        SimpleNamespace(
            id=str(n), group=str(n), attributes={}, captions=c if isinstance(c, tuple) else (c,)
        )
        for n, c in enumerate(captions)
    ]


def held(some, **options):
    return EvalSet(None, some, Evaluate(**options), Generate())


def test_recall_of_rows_with_several_captions():
    found = held(rows(("a", "b"), "B", "c"))
    assert found.captions == ["a", "b", "c"]
    assert found.pairs.tolist() == [[0, 0], [1, 0], [1, 1], [2, 2]] and found.own.tolist() == [
        0,
        1,
        2,
    ]
    assert found.groups == ["0", "1", "2"] and found.caption_groups == ["0", "0", "2"]
    outputs = ModelOutputs(None, found)
    outputs.text_embeds = np.array([[0.9, 0, 0], [0.1, 0.2, 0.9], [0, 0, 0.95]])
    outputs.image_embeds = np.eye(3)
    figures = Recall().compute(outputs)
    assert figures["r1_t2i"] == 0.5  # a: hit; b asked by two rows: missed; c: hit
    assert figures["r1_i2t"] == pytest.approx(1.0)
    assert (
        figures["map_t2i"] == pytest.approx((1 + 2 * (1 / 2 + 2 / 3) / 2 + 1) / 4)
        and figures["medr_i2t"] == 1
    )
    assert Recall().references(outputs)["chance"]["r10_t2i"] == 1.0
    assert set(figures) == set(Recall.figures)
    measured = MetricResult.of(Recall(), outputs)
    assert all(
        np.average(i.values, weights=i.weights) == pytest.approx(figures[k])
        for k, i in measured.items.items()
    )
    assert set(measured.intervals()) == {k for k in figures if not k.startswith("medr")}
    assert any("a random order has R@10 100 %" in note for note in Recall().notes(outputs))


def test_prompts_go_round_the_split_and_are_seeded():
    some = rows(("a1", "a2"), "b", "c")
    first, again, other = held(some, images=7), held(some, images=7), held(some, images=7, seed=1)
    assert (
        first.prompts == again.prompts
        and first.seeds == list(range(7))
        and other.seeds == list(range(1, 8))
    )
    assert sorted(first.prompts[:3]) == ["a1", "b", "c"] and sorted(first.prompts[3:6]) == [
        "a2",
        "b",
        "c",
    ]
    assert [r.id for r in first.drawn_rows[:3]] == [r.id for r in first.real_rows]


# ---------------------------------------------------------------- kid


def features(n, d=16, shift=0.0, seed=0):
    return (np.random.default_rng(seed).standard_normal((n, d)) + shift).astype(np.float32)


def test_mmd_by_hand():
    # one dimension, k(a, b) = (ab + 1)³: x = (0, 1), y = (0, 2): own 1 and 1, cross (1 + 1 + 1 + 27)/4
    assert unbiased_mmd(np.array([[0.0], [1.0]]), np.array([[0.0], [2.0]])) == pytest.approx(
        1 + 1 - 2 * 30 / 4
    )


def test_mmd_in_blocks_is_the_mmd():
    x, y = features(1500), features(1100, shift=0.1, seed=1)
    k = lambda a, b: (a.astype(float) @ b.T / 16 + 1) ** 3  # noqa: E731
    own = sum((k(z, z).sum() - np.trace(k(z, z))) / (len(z) * (len(z) - 1)) for z in (x, y))
    assert unbiased_mmd(x, y) == pytest.approx(own - 2 * k(x, y).mean(), rel=1e-9)


@pytest.mark.parametrize(("n", "m", "size"), [(64, 64, 1000), (300, 260, 100)])
def test_kid_is_clean_fids(n, m, size):
    """Same features, same subsets: clean-fid draws from numpy's global state, we from a RandomState."""
    fid = pytest.importorskip("cleanfid.fid")
    real, drawn = features(n).astype(float), features(m, shift=0.2, seed=1).astype(float)
    np.random.seed(3)
    theirs = fid.kernel_distance(real, drawn, num_subsets=10, max_subset_size=size)
    ours = kernel_distance(real, drawn, np.random.RandomState(3), subsets=10, size=size)
    assert ours == pytest.approx(theirs, rel=1e-9)


def test_kid_behaves():
    rng = np.random.RandomState(0)
    real = features(200)
    level = noise(real, 100, rng)
    assert abs(kernel_distance(real, features(200, seed=5), rng)) < 4 * level
    shifted = [kernel_distance(real, features(200, shift=s, seed=5), rng) for s in (0.1, 0.3, 0.9)]
    assert 0 < shifted[0] < shifted[1] < shifted[2]


def test_noise_is_the_size_of_kid_between_equals():
    found, spread = np.random.RandomState(1), features(400)
    between = []
    for _ in range(100):
        order = found.permutation(400)
        between.append(unbiased_mmd(spread[order[:40]], spread[order[40:160]]))
    expected = float(np.sqrt(np.mean(np.square(between))))
    assert noise(spread[:120], 40, np.random.RandomState(0), splits=100) == pytest.approx(
        expected, rel=0.3
    )


def test_kid_refuses_a_single_image():
    with pytest.raises(WorkError, match="KID needs 2 images"):
        Kid().check(held(rows("a", "b"), images=1))
    Kid().check(held(rows("a", "b"), images=2))


# ---------------------------------------------------------------- clip score


def test_clip_score_by_hand():
    images = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    captions = np.array([[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0]])
    assert scores(images, captions).tolist() == pytest.approx(
        [100, 80, 0]
    )  # a cosine below 0 counts as 0


def test_chance_of_clip_score_leaves_equal_captions_out():
    captions = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    # pairs of differing captions: image 0 and 1 with caption 2, image 2 with 0 and 1: all at right angles
    assert mismatched(captions, captions) == 0
    assert np.isnan(mismatched(captions[:2], captions[:2]))
