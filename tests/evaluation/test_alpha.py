"""The share of the tuned CLIP that an export takes, chosen on the validation split."""

import math

import numpy as np
import pytest

from tests.support.projects import load_recipe
from unidiff_cli.data.shards import Shards
from unidiff_cli.evaluation import alpha
from unidiff_cli.evaluation.alpha import ALPHAS, choose, choose_alpha, difference
from unidiff_cli.evaluation.results import PerItem
from unidiff_cli.models import loading

PRODUCTS = 8


def trial(level, swing=0.0):
    """A query a product, its precision `level`, and `swing` more or less in turn."""
    signs = np.resize([1.0, -1.0], PRODUCTS)
    values = np.full(PRODUCTS, level) + swing * signs
    return {key: PerItem(values, list(range(PRODUCTS))) for key in ("map_t2i", "map_i2t")}


def test_the_smallest_share_within_one_standard_error_of_the_best():
    """The difference to the best has the error swing/√(G − 1) = 0.05/√7 = 0.0189."""
    error = 0.05 / math.sqrt(PRODUCTS - 1)
    shares = {0.3: 0.5 - 2 * error, 0.5: 0.5 - 1.01 * error, 0.7: 0.5 - 0.99 * error, 0.9: 0.49}
    by_share = {0.0: trial(0.1), 1.0: trial(0.5)}
    by_share |= {share: trial(level, 0.05) for share, level in shares.items()}
    chosen = choose(by_share, "8 images")
    assert chosen.alpha == 0.7 and chosen.gained
    assert [row.alpha for row in chosen.measured] == [0, 0.3, 0.5, 0.7, 0.9, 1]
    row = chosen.measured[3]
    assert row.below_best == pytest.approx(0.99 * error) and row.standard_error == pytest.approx(
        error
    )
    assert "(50.0% at 1; base 10.0%) and none" in chosen.reason
    assert chosen.reason.endswith("2 points below it, on 8 images")


def test_no_figure_may_lose_more_than_two_points_however_large_the_error():
    def shares(lost):
        half = trial(0.5 - lost / 2, 0.3) | {"map_i2i": trial(0.5 + 0.8 * lost, 0.3)["map_t2i"]}
        whole = trial(0.5) | {"map_i2i": trial(0.5)["map_t2i"]}
        return {0.0: whole | trial(0.1), 0.5: half, 1.0: whole}

    assert choose(shares(0.03), "").alpha == 0.5
    # The mean is nearly the same, what a search by text finds is not.
    assert choose(shares(0.05), "").alpha == 1


def test_a_clear_loss_is_never_taken_for_chance():
    """Every product falls alike, so that the difference has no error."""
    chosen = choose({0.0: trial(0.1), 0.5: trial(0.4999, 0.2), 1.0: trial(0.5, 0.2)}, "")
    assert chosen.alpha == 1


def test_of_equal_shares_the_smallest_is_taken_and_never_the_base():
    assert choose({0.0: trial(0.499), 0.4: trial(0.5), 1.0: trial(0.5)}, "").alpha == 0.4


def test_the_base_is_taken_only_where_training_brought_nothing():
    chosen = choose({0.0: trial(0.5), 0.4: trial(0.5), 1.0: trial(0.4)}, "8 images")
    assert chosen.alpha == 0 and not chosen.gained
    assert "no share has a higher mean average precision than the base's" in chosen.reason


def test_the_error_is_over_products_of_queries_with_weights():
    """Two products; by hand: weights 1, 1, 2 and gaps 0.2, 0.4, 0.1, so a mean of 0.2."""
    best = {"map_t2i": PerItem(np.array([0.7, 0.9, 0.5]), ["a", "a", "b"], np.array([1.0, 1, 2]))}
    other = {"map_t2i": PerItem(np.array([0.5, 0.5, 0.4]), ["a", "a", "b"], np.array([1.0, 1, 2]))}
    below, error = difference(other, best)
    # Residuals: a (0 + 0.2)/4 = 0.05, b 2·(−0.1)/4 = −0.05; √(2/1 · 2 · 0.05²) = 0.1.
    assert below == pytest.approx(0.2) and error == pytest.approx(0.1)


# ---------------------------------------------------------------- on a catalogue


@pytest.fixture(scope="module")
def tuned(finished):
    return loading.load_base(str(finished.export()), 32).state_dict()


def choice(project, tiny_base, tuned, name="fashion"):
    base = loading.load_base(str(tiny_base), 32)
    before = base.weights_hash
    shards = Shards.open(project.path("shards"))
    chosen = choose_alpha(shards, load_recipe(tiny_base, name=name), base, tuned)
    assert base.weights_hash == before, "the base is left as it was"
    return chosen


def test_every_share_is_measured_once(finished, tiny_base, tuned, monkeypatch):
    monkeypatch.setattr(alpha, "MIN_GROUPS", 1)
    chosen = choice(finished, tiny_base, tuned)
    assert [row.alpha for row in chosen.measured] == [0, *ALPHAS]
    assert chosen.alpha in (0, *ALPHAS)
    assert all({"map_t2i", "map_i2t"} <= set(row.figures) for row in chosen.measured)
    assert len({row.map for row in chosen.measured}) > 1


def test_too_few_products_and_an_untaught_clip_keep_the_tuned_weights(
    finished, tiny_base, tuned, monkeypatch
):
    monkeypatch.setattr(alpha, "MIN_GROUPS", 10_000)
    few = choice(finished, tiny_base, tuned)
    assert few.alpha == 1 and "products in the validation split are too few" in few.reason
    untaught = choice(finished, tiny_base, tuned, "sd-only")
    assert untaught.alpha == 1 and "no objective taught CLIP" in untaught.reason
    monkeypatch.setattr(Shards, "rows", lambda self, split="": [])
    none = choice(finished, tiny_base, tuned)
    assert none.alpha == 1 and none.reason == "there is no validation split to choose by"
