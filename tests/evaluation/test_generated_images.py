"""What judges generated images one by one: manifolds, prompts, diversity and near copies."""

import numpy as np
import pytest

from tests.support.evaluation import normal, unit
from unidiff_cli.evaluation.metrics import diversity, near_copies, precision_recall, r_precision
from unidiff_cli.evaluation.metrics.clip_score import mismatched, scores

# ---------------------------------------------------------------- precision and recall


def test_manifolds_by_hand():
    real, generated = np.array([[0.0], [1], [3]]), np.array([[0.5], [3.5], [10]])
    # To the nearest other one: real 1, 1, 2; generated 3, 3, 6.5.
    assert precision_recall.radii(real, 1).tolist() == [1, 1, 4]
    values = precision_recall.manifolds(real, generated, k=1)
    assert values.precise.tolist() == [True, True, False]
    # 0.5 lies in the balls of 0 and 1, and not of 3, which is 2.5 away; 3.5 in that of 3.
    assert values.dense.tolist() == [2, 1, 0]
    assert values.recalled.tolist() == [True, True, True]
    assert values.covered.tolist() == [True, True, True]
    expected = {"precision": 2 / 3, "recall": 1, "density": 1, "coverage": 1}
    assert precision_recall.figures(values) == pytest.approx(expected)


def test_manifolds_need_more_than_k_images():
    with pytest.raises(ValueError, match="no 3-th neighbour"):
        precision_recall.manifolds(normal(3), normal(9))


def test_manifolds_in_blocks_are_those_of_the_whole(monkeypatch):
    real, generated = normal(150), normal(130, seed=1, shift=0.3)
    whole = precision_recall.manifolds(real, generated)
    monkeypatch.setattr(precision_recall, "BLOCK", 1000)
    for one, other in zip(whole, precision_recall.manifolds(real, generated), strict=True):
        assert (one == other).all()


def test_a_narrow_model_has_precision_and_little_recall():
    real, narrow = normal(300, 4), 0.3 * normal(300, 4, seed=1)
    figures = precision_recall.figures(precision_recall.manifolds(real, narrow))
    level = precision_recall.real_figures(real)
    assert figures["precision"] > 0.95 and figures["recall"] < 0.5 * level["recall"]


# ---------------------------------------------------------------- R-precision and CLIP score


def test_r_precision_by_hand():
    prompts = np.eye(4)
    images = unit(np.array([[1.0, 0, 0, 0], [0.5, 0.4, 0, 0], [1, 1, 1, 0], [0, 0, 0, 1]]))
    _, prompt_of = r_precision.distinct_prompts(["a", "b", "c", "d"])
    assert r_precision.first_choice(images, prompts, prompt_of).tolist() == [1, 0, 0, 1]
    # Against one other prompt: 1 loses against a third of them, 2 ties with two thirds.
    probability = r_precision.first_choice(images, prompts, prompt_of, candidates=2)
    assert probability == pytest.approx([1, 2 / 3, 1 / 3, 1])


def test_equal_prompts_are_one_candidate():
    first, prompt_of = r_precision.distinct_prompts(["a", "b", "a"])
    assert first.tolist() == [0, 1] and prompt_of.tolist() == [0, 1, 0]
    assert r_precision.chance(["a", "b", "a"]) == 1 / 2
    assert r_precision.chance([str(n) for n in range(500)]) == 1 / 100


def test_r_precision_of_unrelated_images_is_chance():
    prompt_of = np.arange(300)
    probability = r_precision.first_choice(unit(normal(300)), unit(normal(300, seed=1)), prompt_of)
    assert probability.mean() == pytest.approx(1 / 100, abs=0.01)


def test_r_precision_of_ties_is_zero():
    ones = np.ones((3, 4))
    assert r_precision.first_choice(ones, ones, np.arange(3)).tolist() == [0, 0, 0]


def test_r_precision_needs_two_prompts():
    with pytest.raises(ValueError, match="two prompts"):
        r_precision.first_choice(np.ones((1, 4)), np.ones((1, 4)), np.arange(1))


def test_clip_score_by_hand():
    images = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    captions = np.array([[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0]])
    # A cosine below 0 counts as 0.
    assert scores(images, captions).tolist() == pytest.approx([100, 80, 0])


def test_chance_of_clip_score_leaves_equal_captions_out():
    captions = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    # Images 0 and 1 with caption 2, image 2 with captions 0 and 1: all at right angles.
    assert mismatched(captions, captions) == 0
    assert np.isnan(mismatched(captions[:2], captions[:2]))


# ---------------------------------------------------------------- diversity


def test_mean_distance_by_hand():
    # Distances 1, 2, 1.
    three = np.array([[1.0, 0], [0, 1], [-1, 0]])
    assert diversity.mean_distance(three)[0] == pytest.approx(4 / 3)
    resampled = diversity.mean_distance(three, np.array([[2, 1, 0], [3, 0, 0]]))
    assert resampled == pytest.approx([1, np.nan], nan_ok=True)


def test_vendi_score_by_hand():
    assert diversity.vendi(np.eye(5)) == pytest.approx(5)
    assert diversity.vendi(np.ones((5, 1))) == pytest.approx(1)


@pytest.mark.parametrize("n", [3, 40])
def test_embeddings_that_are_not_numbers_have_no_diversity(n):
    embeds = normal(n, 8)
    embeds[1, 2] = np.nan
    with np.errstate(invalid="ignore"):
        assert np.isnan(diversity.vendi(embeds))
        assert np.isnan(diversity.mean_distance(embeds)).all()


E = np.eye(4)


@pytest.mark.parametrize(
    ("grid", "expected"),
    [
        pytest.param([[E[0], E[1]], [E[0], E[1]]], 0, id="the seed decides"),
        pytest.param([[E[0], E[0]], [E[1], E[1]]], np.inf, id="the prompt decides"),
        pytest.param([[E[0], E[1]], [E[2], E[3]]], 1, id="both"),
    ],
)
def test_prompt_sensitivity_by_hand(grid, expected):
    assert diversity.prompt_sensitivity(np.array(grid)) == pytest.approx(expected)


def test_bootstrap_of_prompt_sensitivity_is_around_it():
    grid = unit(normal(20 * 5, 8).reshape(20, 5, 8) + 2 * normal(20, 8, seed=1)[:, None])
    samples = diversity.bootstrap_sensitivity(grid, samples=100)
    assert 1 < np.quantile(samples, 0.1) < diversity.prompt_sensitivity(grid) * 1.5


# ---------------------------------------------------------------- near copies


@pytest.fixture
def training():
    return unit(normal(500, 12))


@pytest.fixture
def held_out():
    return unit(normal(300, 12, seed=1))


@pytest.fixture
def fresh():
    """Images of the same distribution."""
    return unit(normal(400, 12, seed=2))


def test_new_images_are_no_copies(training, held_out, fresh):
    copies = near_copies.find_copies(fresh, training, held_out)
    assert copies.rate < 0.03 and not copies.more_than_chance and copies.share == 0.01


def test_copies_of_training_images_are_seen(training, held_out, fresh):
    copied = unit(training[:20] + 0.02 * normal(20, 12, seed=3))
    copies = near_copies.find_copies(np.concatenate([fresh, copied]), training, held_out)
    assert copies.more_than_chance
    assert {(400 + i, i) for i in range(20)} <= {(image, near) for image, near, _ in copies.pairs}
    assert copies.pairs[0][2] == max(cosine for *_, cosine in copies.pairs)


def test_the_threshold_holds_for_any_number_of_held_out_images():
    # The 96th of 100.
    assert near_copies.threshold(np.arange(100) / 100, 0.05) == 0.95
    assert near_copies.threshold(np.arange(19) / 100, 0.05) == 0.18
    assert near_copies.threshold(np.zeros(18), 0.05) == np.inf


def test_few_held_out_images_raise_the_share():
    copies = near_copies.find_copies(
        unit(normal(5)), unit(normal(9, seed=1)), unit(normal(4, seed=2))
    )
    assert copies.share == 1 / 5 and np.isfinite(copies.threshold)
