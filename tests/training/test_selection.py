"""Which weights are the best: recall first, its noise known, then the other half."""

import pytest

from tests.support.projects import load_recipe
from unidiff_cli.training.selection import is_better


def figures(recall=0.5, denoise=0.1, loss=1.0, **more):
    return {
        "r1_t2i": recall,
        "r1_i2t": recall,
        "contrastive": 1.0,
        "denoise": denoise,
        "loss": loss,
        **more,
    }


@pytest.mark.parametrize(
    "new, old, peak, expected",
    [
        (figures(0.70), figures(0.50), 0.70, True),  # beyond the noise
        (
            figures(0.55, denoise=0.12),
            figures(0.50, denoise=0.10),
            0.55,
            False,
        ),  # within it: the other half decides
        (figures(0.48, denoise=0.09), figures(0.50, denoise=0.10), 0.50, True),
        (
            figures(0.30, denoise=0.01),
            figures(0.50, denoise=0.10),
            0.50,
            False,
        ),  # too much recall lost
        (figures(loss=float("nan")), figures(0.1), 0.5, False),
    ],
)
def test_recall_decides_beyond_its_standard_error_and_denoise_within_it(
    tiny_base, new, old, peak, expected
):
    recipe = load_recipe(tiny_base)
    assert (
        is_better(recipe, new, {"figures": old}, peak, count=36) is expected
    )  # one standard error is 0.083


def test_the_first_is_best_unless_it_is_no_number(tiny_base):
    recipe = load_recipe(tiny_base)
    assert is_better(recipe, figures(), {}, 0.5, 36)
    assert not is_better(recipe, figures(loss=float("inf")), {}, 0.5, 36)


def test_other_rules(tiny_base):
    by_denoise = load_recipe(tiny_base, "train.best_by=denoise")
    assert is_better(by_denoise, figures(0.1, denoise=0.09), {"figures": figures(0.9)}, 0.9, 36)
    assert is_better(
        load_recipe(tiny_base, "train.best_by=last"),
        figures(0.1, denoise=9),
        {"figures": figures(0.9)},
        0.9,
        36,
    )
    sd_only = load_recipe(tiny_base, name="sd-only")
    assert is_better(
        sd_only, {"denoise": 0.1, "loss": 0.1}, {"figures": {"denoise": 0.2, "loss": 0.2}}, 0.0, 36
    )
    clip_only = load_recipe(tiny_base, name="clip-only")
    found = {"r1_t2i": 0.5, "r1_i2t": 0.5, "contrastive": 0.5, "loss": 0.5}
    assert is_better(clip_only, found, {"figures": {**found, "loss": 0.6}}, 0.5, 36)


@pytest.mark.parametrize(
    "name", ["fashion", "clip-only", "diffdis", "sigmoid", "sd-only", "sd-only anchored"]
)
def test_recall_judges_every_run_that_learns_to_find(tiny_base, name):
    more = {
        "sigmoid": ("objectives.sigmoid.weight=1", "objectives.contrastive=null"),
        "sd-only anchored": ("objectives.anchor.weight=1",),
    }.get(name, ())
    shipped = {"sigmoid": "clip-only", "sd-only anchored": "sd-only"}.get(name, name)
    recipe = load_recipe(tiny_base, *more, name=shipped)
    found, old = (
        {"r1_t2i": r, "r1_i2t": r, "denoise": d, "loss": d} for r, d in ((0.9, 0.2), (0.1, 0.1))
    )
    assert is_better(recipe, found, {"figures": old}, 0.9, 36) is (not name.startswith("sd-only"))
