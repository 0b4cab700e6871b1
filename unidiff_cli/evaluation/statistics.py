"""Intervals and paired tests: how much of a figure, or of a difference of two, is chance.

An item is a query or an image. Items of one product succeed and fail together, so products are
what is resampled: `groups` names each item's. Everything is seeded; the same seed resamples the
same items for two models. What scipy does and what not: docs/decisions/2026-11-26-libraries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from unidiff_cli.data.splits import group_numbers
from unidiff_cli.reports.schema import Better, Interval, PairedTest, Word

LEVEL = 0.95
# Bootstrap samples.
SAMPLES = 1000
# Random sign vectors of a sign-flip test, where there are more than that.
FLIPS = 10_000
# Groups up to which all sign vectors are tried.
EXACT_GROUPS = 13
# Groups below which a bootstrap says nothing: every resample may agree by chance.
MIN_GROUPS = 6
# Numbers in memory at a time, 34 MB.
CELLS = 2**22
Groups = Sequence[object] | np.ndarray | None
# The groups of the real images and of the generated ones.
Sides = tuple[Sequence[object], Sequence[object]]


# ---------------------------------------------------------------- intervals


def resamples(
    items: int, samples: int = SAMPLES, seed: int | Sequence[int] = 0, groups: Groups = None
) -> np.ndarray:
    """How often each item is in each bootstrap sample, float64 (samples, n).

    Whole groups are sampled with replacement.
    """
    number = group_numbers(groups, items)
    blocks = _group_counts(int(number.max()) + 1, samples, seed)
    return np.concatenate([counts[:, number] for counts in blocks])


def both_sides(
    real: int, generated: int, samples: int = SAMPLES, seed: int = 0, groups: Sides | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """How often each real and each generated image is in each bootstrap sample, (B, R) and (B, n).

    With `groups` a product is sampled with its real images and with those generated from its
    captions, on both sides as often: apart, or image by image, a test of two equal models is wrong
    up to one time in three (20 products).
    """
    if groups is None:
        return resamples(real, samples, [seed, 0]), resamples(generated, samples, [seed, 1])
    counts = resamples(real + generated, samples, seed, [*groups[0], *groups[1]])
    return counts[:, :real], counts[:, real:]


def _group_counts(groups: int, samples: int, seed: int | Sequence[int]) -> Iterator[np.ndarray]:
    """How often each group is in each sample, (block, G) for a block of samples at a time."""
    rng, block = np.random.default_rng(seed), max(1, CELLS // groups)
    shares = np.full(groups, 1 / groups)
    for start in range(0, samples, block):
        size = min(block, samples - start)
        yield rng.multinomial(groups, shares, size=size).astype(np.float64)


def interval(
    value: float, samples: np.ndarray, items: int, groups: int | None = None, level: float = LEVEL
) -> Interval:
    """The percentile interval of bootstrap figures (B,), shifted to the figure itself.

    Resampling shifts a distance (an image sampled twice narrows its sample); the shift,
    mean(samples) − value, is taken out. Of a mean it is 0. Efron & Tibshirani, An Introduction to
    the Bootstrap, chapters 10 and 13.
    """
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2]) - samples.mean() + value
    return Interval(
        float(value), float(low), float(high), items, items if groups is None else groups
    )


def bootstrap_mean(
    values: np.ndarray,
    weights: np.ndarray | None = None,
    groups: Groups = None,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Interval:
    """The interval of the (weighted) mean of values (n,); memory does not grow with samples × n."""
    sums, counts = _group_sums(np.asarray(values, float), weights, groups)
    means = _sampled_means(sums, counts, samples, seed)
    return interval(float(sums.sum() / counts.sum()), means, len(values), len(sums))


def _group_sums(
    values: np.ndarray, weights: np.ndarray | None, groups: Groups
) -> tuple[np.ndarray, np.ndarray]:
    """Σ w·v and Σ w of each group, (G,) and (G,)."""
    number = group_numbers(groups, len(values))
    w = np.ones(len(values)) if weights is None else np.asarray(weights, float)
    return np.bincount(number, w * values), np.bincount(number, w)


def _sampled_means(sums: np.ndarray, counts: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """The mean of each bootstrap sample of groups, (B,)."""
    blocks = _group_counts(len(sums), samples, seed)
    return np.concatenate([(w @ sums) / (w @ counts) for w in blocks])


def wilson(hits: int, items: int, level: float = LEVEL) -> Interval:
    """The interval of a share of independent items; right near 0 % and 100 %.

    A bootstrap says ± 0 there. Wilson, J. Am. Stat. Assoc. 22 (1927) 209.
    """
    from scipy.stats import binomtest

    share = binomtest(hits, items).proportion_ci(level, method="wilson")
    return Interval(hits / items, float(share.low), float(share.high), items, items)


# ---------------------------------------------------------------- two models on the same items


def paired(
    before: np.ndarray,
    after: np.ndarray,
    weights: np.ndarray | None = None,
    groups: Groups = None,
    better: Better = "higher",
    margin: float | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
) -> PairedTest:
    """Compares the means of two models' values of the same items, (n,) and (n,).

    The interval is a bootstrap of whole groups; p is a sign-flip test over groups, since a
    bootstrap of few groups is too narrow: below 6 groups nothing is ever significant at 5 %. For
    k folds by product give `groups=folds(products, k)`. Koehn, EMNLP 2004 (paired bootstrap).
    "Not worse by more than `margin`" needs the same two of the differences less the margin.
    """
    before, after = np.asarray(before, float), np.asarray(after, float)
    sums, counts = _group_sums(after - before, weights, groups)
    means = _sampled_means(sums, counts, samples, seed)
    around = interval(float(sums.sum() / counts.sum()), means, len(after), len(sums))
    figures = [float(np.average(values, weights=weights)) for values in (before, after)]
    within = None
    if margin is not None and len(sums) >= MIN_GROUPS:
        shift = margin if better == "higher" else -margin
        p = sign_flip(sums + shift * counts, seed)
        within = _ends_within(around, margin, better) and p < 1 - LEVEL
    return _test(figures[0], figures[1], around, sign_flip(sums, seed), better, within)


def sign_flip(sums: np.ndarray, seed: int = 0) -> float:
    """p of groups' differences (G,): how often random signs give a sum as far from 0.

    Exact up to 13 groups. Good, Permutation Tests, chapter 3. Of more it is counted over random
    signs, and below what they can resolve Hoeffding's bound 2 exp(−(Σd)²/(2 Σd²)) (J. Am. Stat.
    Assoc. 58 (1963) 13) holds: many tests of one table need small p values.
    """
    reached = abs(sums.sum()) * (1 - 1e-12)
    if len(sums) <= EXACT_GROUPS:
        signs = np.array(list(product((-1, 1), repeat=len(sums))))
        return float((np.abs(signs @ sums) >= reached).mean())
    rng, block, hits = np.random.default_rng(seed), max(1, CELLS // len(sums)), 0
    for start in range(0, FLIPS, block):
        signs = rng.integers(0, 2, (min(block, FLIPS - start), len(sums))) * 2 - 1
        hits += int((np.abs(signs @ sums) >= reached).sum())
    squares = float((sums**2).sum())
    bound = 2 * np.exp(-(reached**2) / (2 * squares)) if squares else 1.0
    return min((hits + 1) / (FLIPS + 1), float(bound))


def paired_bootstrap(
    before: float,
    after: float,
    before_samples: np.ndarray,
    after_samples: np.ndarray,
    items: int,
    groups: int | None = None,
    better: Better = "lower",
    margin: float | None = None,
) -> PairedTest:
    """Compares two figures that are not means (KID, FID) by their bootstrap figures, (B,) and (B,).

    The same resamples gave both. p is the larger of two: the share of differences beyond 0, and
    that of a t distribution with their s.d., which also says how small a p is that no resample
    reaches. Below MIN_GROUPS there is no interval and nothing is significant, as in `paired`.
    """
    from scipy.stats import t

    sampled = items if groups is None else groups
    if sampled < MIN_GROUPS:
        around = Interval(after - before, items=items, groups=sampled)
        return _test(before, after, around, 1.0, better)
    differences = after_samples - before_samples
    around = interval(after - before, differences, items, sampled)
    centred = differences - differences.mean() + after - before
    tail = min((centred <= 0).mean(), (centred >= 0).mean())
    # 0/0 where both models are the same.
    scale = max(float(differences.std(ddof=1)), np.finfo(float).tiny)
    beyond = t.sf(abs(after - before) / scale, sampled - 1)
    within = None
    if margin is not None:
        shift = margin if better == "higher" else -margin
        p = 2 * t.sf(abs(after - before + shift) / scale, sampled - 1)
        within = _ends_within(around, margin, better) and bool(p < 1 - LEVEL)
    p = min(1.0, 2 * float(max(tail, beyond)))
    return _test(before, after, around, p, better, within)


def _ends_within(around: Interval, margin: float, better: Better) -> bool:
    """Whether the interval of a difference is nowhere worse than by the margin."""
    assert around.low is not None and around.high is not None
    return around.low > -margin if better == "higher" else around.high < margin


def _test(
    before: float,
    after: float,
    around: Interval,
    p: float,
    better: Better,
    not_worse: bool | None = None,
) -> PairedTest:
    """A test with its verdict: the interval leaves 0 out, and p is below 1 − LEVEL."""
    difference = after - before
    verdict: Word = "not distinguishable"
    if around.low is not None and around.high is not None:
        if not around.low <= 0 <= around.high and p < 1 - LEVEL:
            verdict = "better" if (difference > 0) == (better == "higher") else "worse"
    assert around.items is not None and around.groups is not None
    numbers = (around.low, around.high, p, around.items, around.groups)
    return PairedTest(before, after, difference, *numbers, verdict, not_worse=not_worse)


def holm(p: Sequence[float]) -> list[float]:
    """Corrected p values of several tests, (n,): any is below a level by chance as rarely as one.

    Holm, Scandinavian Journal of Statistics 6 (1979) 65.
    """
    adjusted, least = [1.0] * len(p), 0.0
    for place, i in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        least = max(least, min(1.0, p[i] * (len(p) - place)))
        adjusted[i] = least
    return adjusted
