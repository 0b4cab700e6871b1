"""The choice of a guidance: by KID, up to one standard error, and only with enough images."""

import numpy as np
import pytest

from unidiff_cli.evaluation.guidance import Trial, _clearly_better, _simplest, _trials
from unidiff_cli.models.guidance import Guidance


def trial(guidance, kid, noise=0.1, shared=0.0, seed=0):
    """A trial whose KID has a standard error of `noise`, besides what all trials share."""
    rng = np.random.default_rng(seed)
    common = np.random.default_rng(99).normal(size=2000) * shared
    return Trial(guidance, kid, kid + common + rng.normal(size=2000) * noise, 0.5, 0.3)


def test_of_settings_within_a_standard_error_the_simplest_is_taken():
    # The difference of the first two has a standard error of √2 · 0.1.
    first, second = trial(Guidance(4), 1.1, seed=1), trial(Guidance(2), 1.0, seed=2)
    assert _simplest([first, second]) is first
    clear = trial(Guidance(4), 1.2, seed=1)
    assert _simplest([clear, second]) is second


def test_noise_that_two_settings_share_hides_no_difference():
    first = trial(Guidance(4), 1.2, 0.01, shared=5.0, seed=1)
    second = trial(Guidance(2), 1.0, 0.01, shared=5.0, seed=2)
    assert _simplest([first, second]) is second


def test_guidance_from_the_base_has_to_be_clearly_better():
    own = trial(Guidance(2), 1.0, 0.1, seed=1)
    # The difference has a standard error of √2 · 0.1.
    for below, is_chosen in ((0.2, False), (0.4, True)):
        from_base = trial(Guidance(2, unconditional="base"), 1.0 - below, 0.1, seed=2)
        assert (_clearly_better(from_base, own) is from_base) == is_chosen


class Judge:
    """Judges by a table; `asked` is what was tried."""

    def __init__(self, kid):
        self.kid, self.asked = kid, []

    def trial(self, guidance):
        self.asked.append(guidance)
        return trial(guidance, self.kid(guidance), 0.001, seed=len(self.asked))


def test_scales_are_tried_first_and_the_rest_at_the_best_of_them():
    judge = Judge(lambda g: abs(g.scale - 2) - 0.1 * g.rescale)
    trials = _trials(judge, Guidance(4))
    plain = [Guidance(4), Guidance(2)]
    assert judge.asked == [*plain, Guidance(2, rescale=0.7), Guidance(2, (0.0, 0.8))]
    assert _simplest(trials).guidance == Guidance(2, rescale=0.7)


def test_where_none_is_best_there_is_nothing_to_refine():
    judge = Judge(lambda g: g.scale)
    assert _simplest(_trials(judge, Guidance(2))).guidance == Guidance(1)
    assert len(judge.asked) == 2


@pytest.mark.parametrize(("own", "count"), [(1.0, 1), (1.5, 2), (3.0, 2)])
def test_the_same_setting_is_tried_once(own, count):
    judge = Judge(lambda g: 1.0)
    _trials(judge, Guidance(own))
    assert len([g for g in judge.asked if not g.rescale and g.interval == (0, 1)]) == count
