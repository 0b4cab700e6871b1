"""Train, val and test: which group goes where; and k folds by group."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import get_args

import numpy as np

from unidiff_cli.config.values import SplitName
from unidiff_cli.data.doubts import Doubt

NAMES: tuple[str, ...] = get_args(SplitName)
# Rows of which some are held out, if they can be.
MANY = 10


def doubts(splits: Sequence[str], shares: tuple[float, float, float]) -> list[Doubt]:
    """What train and evaluate will lack, by the split of every row."""
    missing = [name for name, share in zip(NAMES, shares, strict=True) if share]
    missing = [name for name in missing if name not in splits]
    if "train" in missing:
        return [
            Doubt(
                f"All rows are in {' and '.join(sorted(set(splits)))}, so train has nothing to "
                "learn from.",
                "To split them by share: --set prepare.columns.split=''",
            )
        ]
    if missing and len(splits) >= MANY and set(splits) == {"train"}:
        return [
            Doubt(
                "All rows are in train, so nothing is held out to validate and evaluate with.",
                "They may be one product; to split its images: --set prepare.columns.product=''",
            )
        ]
    return []


def assign_splits(
    groups: Sequence[str],
    mapped: Sequence[str | None],
    shares: tuple[float, float, float],
    seed: int,
) -> list[str]:
    """train, val or test for every image: as mapped, else whole groups near the given shares.

    Groups are ordered by a seeded hash of their names; test is filled from one end and val from the
    other, so most groups keep their split when a catalogue grows. A split that a mapping never
    names is taken from its train.
    """
    given: dict[str, str] = {}
    for group, name in zip(groups, mapped, strict=True):
        if name:
            given[group] = min(given.get(group, name), name, key=("test", "val", "train").index)
    free = Counter(group for group in groups if given.get(group, "train") == "train")
    named = set(mapped)
    wanted = {name: share for name, share in zip(NAMES, shares, strict=True) if name not in named}
    chosen = _held_out(free, wanted, seed)
    return [
        chosen.get(group) or name or given.get(group, "train")
        for group, name in zip(groups, mapped, strict=True)
    ]


def _held_out(sizes: Counter[str], shares: dict[str, float], seed: int) -> dict[str, str]:
    """The groups that go to test and val, each split close to its share of all images."""
    order = sorted(
        sizes,
        key=lambda group: hashlib.sha256(f"{seed}:{group}".encode("utf-8", "replace")).digest(),
    )
    total = sum(sizes.values())
    chosen: dict[str, str] = {}
    for name, ordered in (("test", order), ("val", order[::-1])):
        target, filled = shares.get(name, 0.0) * total, 0
        # Train gets a group too, and while test is filled so does val.
        reserved = 1 + (name == "test" and shares.get("val", 0.0) > 0)
        for group in ordered:
            spare = len(sizes) < 3 or len(sizes) - len(chosen) > reserved
            fits = abs(filled + sizes[group] - target) <= target - filled
            if spare and group not in chosen and fits:
                chosen[group] = name
                filled += sizes[group]
        free = [group for group in ordered if group not in chosen]
        if target and not filled and len(sizes) >= 3 and len(free) >= 2:
            chosen[min(free, key=sizes.__getitem__)] = name
    return chosen


def group_numbers(groups: Sequence[object] | np.ndarray | None, items: int) -> np.ndarray:
    """0 … G − 1 for each item, int (n,); where no groups are named each item is its own."""
    if groups is None:
        return np.arange(items)
    if len(groups) != items:
        raise ValueError(f"{len(groups)} groups for {items} items")
    place: dict[object, int] = {}
    return np.array([place.setdefault(g, len(place)) for g in groups], int)


def folds(groups: Sequence[object] | np.ndarray, k: int = 10, seed: int = 0) -> np.ndarray:
    """The fold 0 … k − 1 of each item, int (n,).

    Whole groups, the largest first into the emptiest fold.
    """
    number = group_numbers(groups, len(groups))
    sizes = np.bincount(number)
    if len(sizes) < k:
        raise ValueError(f"{len(sizes)} groups cannot make {k} folds")
    shuffled = np.random.default_rng(seed).permutation(len(sizes))
    order = shuffled[np.argsort(-sizes[shuffled], kind="stable")]
    filled, fold = np.zeros(k, int), np.zeros(len(sizes), int)
    for group in order:
        fold[group] = filled.argmin()
        filled[fold[group]] += sizes[group]
    return fold[number]
