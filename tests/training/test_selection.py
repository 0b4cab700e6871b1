"""Which weights are the best: recall first, its noise known, then the other half."""

import pytest

from tests.support.projects import load_recipe
from unidiff_cli.training.selection import (
    Best,
    is_better,
    judging_figures,
    mean_recall,
    rule_words,
)


def figures(recall=0.5, denoise=0.1, loss=1.0):
    return {
        "r1_t2i": recall,
        "r1_i2t": recall,
        "contrastive": 1.0,
        "denoise": denoise,
        "loss": loss,
    }


def best(values, peak=0.0):
    return Best(step=1, figures=values, peak=peak)


@pytest.mark.parametrize(
    "new, old, expected",
    [
        pytest.param(figures(0.70), figures(0.50), True, id="beyond the noise"),
        pytest.param(
            figures(0.55, denoise=0.12),
            figures(0.50, denoise=0.10),
            False,
            id="within it, the other half is worse",
        ),
        pytest.param(
            figures(0.48, denoise=0.09),
            figures(0.50, denoise=0.10),
            True,
            id="within it, the other half is better",
        ),
        pytest.param(
            figures(0.30, denoise=0.01),
            figures(0.50, denoise=0.10),
            False,
            id="too much recall lost",
        ),
        pytest.param(figures(loss=float("nan")), figures(0.1), False, id="no number"),
    ],
)
def test_recall_decides_beyond_its_standard_error_and_denoise_within_it(
    tiny_base, new, old, expected
):
    """One standard error is 0.083."""
    recipe = load_recipe(tiny_base)
    assert is_better(recipe, new, best(old, old["r1_t2i"]), count=36) is expected


def test_what_was_equal_once_and_is_no_more_is_replaced_by_higher_recall(tiny_base):
    recipe, old = load_recipe(tiny_base), best(figures(0.50), peak=0.80)
    assert is_better(recipe, figures(0.55, denoise=0.5), old, count=36)


def test_the_first_is_best_unless_it_is_no_number(tiny_base):
    recipe = load_recipe(tiny_base)
    assert is_better(recipe, figures(), Best(), 36)
    assert not is_better(recipe, figures(loss=float("inf")), Best(), 36)


def test_by_denoise_recall_does_not_count(tiny_base):
    recipe, old = load_recipe(tiny_base, "train.best_by=denoise"), best(figures(0.9), 0.9)
    assert is_better(recipe, figures(0.1, denoise=0.09), old, 36)


def test_by_last_every_one_is_better(tiny_base):
    recipe, old = load_recipe(tiny_base, "train.best_by=last"), best(figures(0.9), 0.9)
    assert is_better(recipe, figures(0.1, denoise=9), old, 36)


def test_without_recall_the_generation_loss_decides(tiny_base):
    recipe = load_recipe(tiny_base, name="sd-only")
    assert is_better(recipe, {"denoise": 0.1, "loss": 0.1}, best({"denoise": 0.2, "loss": 0.0}), 36)


def test_without_a_generation_loss_the_total_decides_within_the_noise(tiny_base):
    recipe = load_recipe(tiny_base, name="clip-only")
    new = {"r1_t2i": 0.5, "r1_i2t": 0.5, "contrastive": 0.5, "loss": 0.5}
    assert is_better(recipe, new, best({**new, "loss": 0.6}, 0.5), 36)


@pytest.mark.parametrize(
    "name, shipped, more, by_recall",
    [
        ("fashion", "fashion", (), True),
        ("clip-only", "clip-only", (), True),
        ("diffdis", "diffdis", (), True),
        (
            "sigmoid",
            "clip-only",
            ("objectives.sigmoid.weight=1", "objectives.contrastive=null"),
            True,
        ),
        ("sd-only", "sd-only", (), False),
        ("sd-only anchored", "sd-only", ("objectives.anchor.weight=1",), False),
    ],
)
def test_recall_judges_every_run_that_trains_retrieval(tiny_base, name, shipped, more, by_recall):
    recipe = load_recipe(tiny_base, *more, name=shipped)
    new, old = (
        {"r1_t2i": recall, "r1_i2t": recall, "denoise": loss, "loss": loss}
        for recall, loss in ((0.9, 0.2), (0.1, 0.1))
    )
    assert is_better(recipe, new, best(old, 0.1), 36) is by_recall


# ---------------------------------------------------------------- search by image

IMAGE = "objectives.image_contrast.weight=1"


def with_image(text, image, loss=0.1):
    return {**figures(text, denoise=loss), "r1_i2i": image}


@pytest.mark.parametrize(
    ("name", "more", "judging"),
    [
        ("fashion", (), ["r1_t2i", "r1_i2t"]),
        ("fashion", (IMAGE,), ["r1_t2i", "r1_i2t", "r1_i2i"]),
        ("fashion", (IMAGE, "train.best_by=recall"), ["r1_t2i", "r1_i2t"]),
        ("fashion", ("train.best_by=image",), ["r1_i2i"]),
        ("sd-only", (IMAGE,), ["r1_i2i"]),
        ("fashion", (IMAGE, "train.best_by=denoise"), []),
        ("sd-only", (), []),
    ],
)
def test_the_directions_that_are_trained_judge(tiny_base, name, more, judging):
    recipe = load_recipe(tiny_base, *more, name=name)
    assert judging_figures(recipe, with_image(0, 0)) == judging
    # What was not measured does not judge.
    assert judging_figures(recipe, figures()) == [key for key in judging if key != "r1_i2i"]


def test_image_search_counts_for_a_third_where_it_is_trained(tiny_base):
    trained = load_recipe(tiny_base, IMAGE)
    assert mean_recall(trained, with_image(0.6, 0.3)) == pytest.approx(0.5)
    # Of captions as good, of images far better, and a worse loss: only where it is trained.
    new, old = with_image(0.5, 0.9, loss=0.2), with_image(0.5, 0.1)
    assert is_better(trained, new, best(old, mean_recall(trained, old)), 36)
    assert not is_better(load_recipe(tiny_base), new, best(old, 0.5), 36)


def test_by_image_captions_do_not_count(tiny_base):
    recipe = load_recipe(tiny_base, "train.best_by=image")
    new, old = with_image(0.1, 0.9, loss=0.2), with_image(0.9, 0.1)
    assert is_better(recipe, new, best(old, 0.1), 36)


def test_it_says_which_weights_are_exported(tiny_base):
    recipe = load_recipe(tiny_base, IMAGE)
    words = "The exported weights are chosen by validation R@1 (mean of text-to-image and "
    assert rule_words(recipe, with_image(0, 0)) == f"{words}image-to-text and image-to-image)."
    assert rule_words(recipe, figures()) == (
        f"{words}image-to-text). Image-to-image does not count: no product of the validation split "
        "has two images."
    )
    sd_only = load_recipe(tiny_base, name="sd-only")
    assert rule_words(sd_only, {}) == "The weights with the lowest validation loss are exported."
    last = load_recipe(tiny_base, "train.best_by=last")
    assert rule_words(last, figures()) == "The last weights are exported."
