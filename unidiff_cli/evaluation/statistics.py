"""Intervals and paired tests: how much of a figure, or of a difference of two, chance alone makes.

An item is a query or an image. Items of one product succeed and fail together, so products are what is resampled:
`groups` names each item's. Everything is seeded; the same seed draws the same items for two models.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import sqrt
from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np

from unidiff_cli.data.splits import group_numbers

LEVEL, DRAWS = 0.95, 1000
FLIPS = 10_000  # of signs, where all of them are more than that
CELLS = 2**22  # numbers held at once, 34 MB
FEWEST = 6  # groups, below which a bootstrap says nothing: every resample may agree by chance
Better = Literal["higher", "lower"]


class Interval(NamedTuple):
    """A figure with the interval that holds the truth in `level` of such samples, and what it was taken over."""

    value: float
    low: float
    high: float
    items: int
    groups: int


def resamples(
    items: int,
    draws: int = DRAWS,
    seed: int | Sequence[int] = 0,
    groups: Sequence[object] | np.ndarray | None = None,
) -> np.ndarray:
    """How often each item is in each bootstrap sample, float64 (draws, n); whole groups are drawn with replacement."""
    number = group_numbers(groups, items)
    return np.concatenate(
        [counts[:, number] for counts in _drawn(int(number.max()) + 1, draws, seed)]
    )


Sides = tuple[Sequence[object], Sequence[object]]  # the groups of real images and of drawn ones


def both_sides(
    real: int, drawn: int, draws: int = DRAWS, seed: int = 0, groups: Sides | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """How often each real and each drawn image is in each bootstrap sample, (B, R) and (B, n).

    With `groups` a product is drawn with its real images and with those drawn from their captions, on both sides as
    often: apart, or image by image, a test of two equal models is wrong up to one time in three (20 products).
    """
    if groups is None:
        return resamples(real, draws, [seed, 0]), resamples(drawn, draws, [seed, 1])
    counts = resamples(real + drawn, draws, seed, [*groups[0], *groups[1]])
    return counts[:, :real], counts[:, real:]


def _drawn(groups: int, draws: int, seed: int | Sequence[int]) -> Iterator[np.ndarray]:
    """(some draws, G) at a time: how often each group is drawn."""
    rng, size = np.random.default_rng(seed), max(1, CELLS // groups)
    for start in range(0, draws, size):
        some = min(size, draws - start)
        yield rng.multinomial(groups, np.full(groups, 1 / groups), size=some).astype(np.float64)


def interval(
    value: float, draws: np.ndarray, items: int, groups: int | None = None, level: float = LEVEL
) -> Interval:
    """The percentile interval of bootstrap figures (B,), brought to the figure itself.

    Resampling shifts a distance (a drawn twice image narrows its sample); the shift, mean(draws) − value, is taken
    out. Of a mean it is 0. Efron & Tibshirani, An Introduction to the Bootstrap, chapters 10 and 13.
    """
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2]) - draws.mean() + value
    return Interval(
        float(value), float(low), float(high), items, items if groups is None else groups
    )


def bootstrap_mean(
    values: np.ndarray,
    weights: np.ndarray | None = None,
    groups: Sequence[object] | np.ndarray | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """The interval of the (weighted) mean of values (n,); memory does not grow with draws × n."""
    sums, counts = _group_sums(np.asarray(values, float), weights, groups)
    found = np.concatenate([(w @ sums) / (w @ counts) for w in _drawn(len(sums), draws, seed)])
    return interval(float(sums.sum() / counts.sum()), found, len(values), len(sums), level)


def _group_sums(
    values: np.ndarray, weights: np.ndarray | None, groups: Sequence[object] | np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Σ w·v and Σ w of each group, (G,) and (G,)."""
    number = group_numbers(groups, len(values))
    w = np.ones(len(values)) if weights is None else np.asarray(weights, float)
    return np.bincount(number, w * values), np.bincount(number, w)


def wilson(hits: int, items: int, level: float = LEVEL) -> Interval:
    """The interval of a share of independent items; right near 0 % and 100 %, where a bootstrap says ± 0.

    Wilson, J. Am. Stat. Assoc. 22 (1927) 209.
    """
    z, p = NormalDist().inv_cdf((1 + level) / 2), hits / items
    middle = (p + z * z / (2 * items)) / (1 + z * z / items)
    half = z * sqrt(p * (1 - p) / items + (z / (2 * items)) ** 2) / (1 + z * z / items)
    return Interval(p, max(0.0, middle - half), min(1.0, middle + half), items, items)


# ---------------------------------------------------------------- two models on the same items


@dataclass(frozen=True)
class Comparison:
    """A figure of two models on the same items, `before` and `after`, and whether chance explains the difference."""

    before: float
    after: float
    low: float | None  # the interval of after − before, where there are groups enough for one
    high: float | None
    p: float
    items: int
    groups: int
    better: Better
    level: float = LEVEL

    @property
    def difference(self) -> float:
        return self.after - self.before

    @property
    def verdict(self) -> Literal["better", "worse", "not distinguishable"]:
        """Both must agree: the interval leaves 0 out, and the test's p is below 1 − level."""
        if (
            self.low is None
            or self.high is None
            or self.low <= 0 <= self.high
            or self.p >= 1 - self.level
        ):
            return "not distinguishable"
        return "better" if (self.difference > 0) == (self.better == "higher") else "worse"


def paired(
    before: np.ndarray,
    after: np.ndarray,
    weights: np.ndarray | None = None,
    groups: Sequence[object] | np.ndarray | None = None,
    better: Better = "higher",
    draws: int = DRAWS,
    seed: int = 0,
    level: float = LEVEL,
) -> Comparison:
    """Compares the means of two models' values of the same items, (n,) and (n,).

    The interval is a bootstrap of whole groups; p is a sign-flip test over groups (exact up to 13), since a bootstrap
    of few groups is too sure of itself: below 6 groups nothing is ever told apart at 95 %. For k folds by product give
    `groups=folds(products, k)`. Koehn, EMNLP 2004 (paired bootstrap); Good, Permutation Tests, chapter 3.
    """
    before, after = np.asarray(before, float), np.asarray(after, float)
    sums, counts = _group_sums(after - before, weights, groups)
    found = np.concatenate([(w @ sums) / (w @ counts) for w in _drawn(len(sums), draws, seed)])
    around = interval(float(sums.sum() / counts.sum()), found, len(after), len(sums), level)
    means = [float(np.average(values, weights=weights)) for values in (before, after)]
    p = sign_flip(sums, seed)
    return Comparison(
        means[0], means[1], around.low, around.high, p, len(after), len(sums), better, level
    )


def sign_flip(sums: np.ndarray, seed: int = 0) -> float:
    """How often groups' differences (G,) of random sign sum to as much as these do, either way: p, exact up to 13."""
    reached = abs(sums.sum()) * (1 - 1e-12)
    if len(sums) <= 13:
        signs = np.array(list(product((-1, 1), repeat=len(sums))))
        return float((np.abs(signs @ sums) >= reached).mean())
    rng, size, hit = np.random.default_rng(seed), max(1, CELLS // len(sums)), 0
    for start in range(0, FLIPS, size):
        signs = rng.integers(0, 2, (min(size, FLIPS - start), len(sums))) * 2 - 1
        hit += int((np.abs(signs @ sums) >= reached).sum())
    return (hit + 1) / (FLIPS + 1)


def paired_draws(
    before: float,
    after: float,
    before_draws: np.ndarray,
    after_draws: np.ndarray,
    items: int,
    groups: int | None = None,
    better: Better = "lower",
    level: float = LEVEL,
) -> Comparison:
    """Compares two figures that are no means (KID, FID) by their bootstrap figures (B,), made with the same draws.

    Below FEWEST groups no interval is given and nothing is told apart, as the sign-flip test of `paired` has it.
    """
    over = items if groups is None else groups
    if over < FEWEST:
        return Comparison(before, after, None, None, 1.0, items, over, better, level)
    draws = after_draws - before_draws
    around = interval(after - before, draws, items, over, level)
    centred = draws - draws.mean() + after - before
    tail = min(int((centred <= 0).sum()), int((centred >= 0).sum()))
    p = min(1.0, 2 * (tail + 1) / (len(draws) + 1))
    return Comparison(before, after, around.low, around.high, p, items, over, better, level)


def sentence(found: Comparison, label: str, percent: bool = False, items: str = "items") -> str:
    """Better, worse or not distinguishable, with the figures, the interval and what it was taken over."""
    scale, unit, form = (100, " points", ".1f") if percent else (1, "", ".3g")

    def number(value: float, form: str = form) -> str:
        return f"{scale * value:{form}}".replace("-", "−")

    figures = " → ".join(number(v) + (" %" if percent else "") for v in (found.before, found.after))
    change = number(found.difference, "+" + form)
    over = f"{found.items:,} {items}" + (
        f" in {found.groups:,} groups" if found.groups != found.items else ""
    )
    around = ""
    if found.low is not None and found.high is not None:
        low, high = (number(v, "+" + form) for v in (found.low, found.high))
        around = f"{100 * found.level:.0f} % interval {low} … {high}; "
    return f"{label} is {found.verdict}: {figures}, {change}{unit} ({around}{over})."


def holm(p: Sequence[float]) -> list[float]:
    """p values of several tests such that any of them is below a level by chance no more often than one test is.

    Holm, Scandinavian Journal of Statistics 6 (1979) 65.
    """
    adjusted, least = [1.0] * len(p), 0.0
    for place, i in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        least = max(least, min(1.0, p[i] * (len(p) - place)))
        adjusted[i] = least
    return adjusted
