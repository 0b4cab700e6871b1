"""Splits: mappings are honoured, groups stay whole, and shares are met."""

import random
from collections import Counter
from typing import get_args

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from unidiff_cli.config.schema import Evaluate
from unidiff_cli.data.split_words import SPLITS
from unidiff_cli.data.splits import NAMES, code_of
from unidiff_cli.data.splits import assign_splits as assign_numbers

SHARES = (0.8, 0.1, 0.1)


def assign_splits(groups, mapped, shares, seed) -> list[str]:
    """The name of each row's split, by the names of groups and of splits."""
    names = list(dict.fromkeys(groups))
    codes = assign_numbers(
        np.array([names.index(name) for name in groups]),
        names.__getitem__,
        np.array([code_of(name) for name in mapped]),
        shares,
        seed,
    )
    return [NAMES[code] for code in codes]


def test_the_names_are_those_of_the_recipe():
    assert get_args(Evaluate.model_fields["split"].annotation) == NAMES
    assert set(SPLITS.values()) == set(NAMES) <= set(SPLITS)


@given(
    st.lists(
        st.tuples(st.integers(0, 12), st.sampled_from([None, None, None, *NAMES])),
        min_size=1,
        max_size=60,
    ),
    st.sampled_from([SHARES, (1.0, 0.0, 0.0), (0.5, 0.25, 0.25)]),
    st.integers(0, 3),
)
@settings(max_examples=200, deadline=None)
def test_splits_honour_mappings_and_never_tear_a_group_themselves(rows, shares, seed):
    names, mapped = [f"g{n}" for n, _ in rows], [m for _, m in rows]
    split = assign_splits(names, mapped, shares, seed)
    assert set(split) <= set(NAMES)
    given_names = {m for m in mapped if m}
    for m, s in zip(mapped, split, strict=True):
        assert m in (None, s) or (m == "train" and s not in given_names)
    for group in set(names):
        wanted = {m for n, m in zip(names, mapped, strict=True) if n == group and m}
        assigned = {s for n, s in zip(names, split, strict=True) if n == group}
        assert len(wanted) > 1 or len(assigned) == 1
    if not any(mapped) and len(set(names)) >= 3 and shares[1]:
        assert set(split) == set(NAMES)
    if shares[0] == 1 and not any(mapped):
        assert set(split) == {"train"}


def test_small_groups_are_shared_out():
    # Both small ones fit into a test split of 1.5 images.
    names = ["g0", "g1", "g1", "g1", "g1", "g2"]
    for seed in range(20):
        assert set(assign_splits(names, [None] * 6, (0.5, 0.25, 0.25), seed)) == set(NAMES)


def products(count: int) -> list[str]:
    noise = random.Random(0)
    return [f"p{noise.randrange(300)}" for _ in range(count)]


def test_shares_are_met():
    sizes = Counter(assign_splits(products(1000), [None] * 1000, SHARES, 0))
    for name, wanted in zip(NAMES, (800, 100, 100), strict=True):
        assert abs(sizes[name] - wanted) <= 5


def test_growth_moves_few_groups():
    names, noise = products(1000), random.Random(1)
    grown = names + [f"new{noise.randrange(100)}" for _ in range(300)]
    before, after = (
        dict(zip(n, assign_splits(n, [None] * len(n), SHARES, 0), strict=True))
        for n in (names, grown)
    )
    assert sum(before[group] != after[group] for group in before) <= 0.05 * len(before)


def test_another_seed_splits_otherwise():
    names = products(1000)
    first, second = (assign_splits(names, [None] * 1000, SHARES, seed) for seed in (0, 1))
    assert first != second
