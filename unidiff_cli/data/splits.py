"""TODO docstring."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

SPLIT_NAMES = ("train", "val", "test")


def split(
    groups: Sequence[str],
    mapped: Sequence[str | None],
    shares: tuple[float, float, float],
    seed: int,
) -> list[str]:
    """train, val or test for every image: as mapped, else whole groups near the asked shares.

    Groups are ordered by a seeded hash of their names; test is filled from one end and val from the other, so most
    groups keep their split when a catalogue grows. A split that a mapping never names is drawn from its train.
    """
    given: dict[str, str] = {}
    for group, name in zip(groups, mapped, strict=True):
        if name:
            given[group] = min(given.get(group, name), name, key=("test", "val", "train").index)
    free = Counter(group for group in groups if given.get(group, "train") == "train")
    named = set(mapped)
    wanted = {
        name: share for name, share in zip(SPLIT_NAMES, shares, strict=True) if name not in named
    }
    drawn = _draw(free, wanted, seed)
    return [drawn.get(g) or m or given.get(g, "train") for g, m in zip(groups, mapped, strict=True)]


def _draw(sizes: Counter[str], shares: dict[str, float], seed: int) -> dict[str, str]:
    """The groups that go to test and val, each close to its share of all images."""
    order = sorted(
        sizes,
        key=lambda group: hashlib.sha256(f"{seed}:{group}".encode("utf-8", "replace")).digest(),
    )
    total = sum(sizes.values())
    drawn: dict[str, str] = {}
    for name, ordered in (("test", order), ("val", order[::-1])):
        target, taken = shares.get(name, 0.0) * total, 0
        later = 1 + (
            name == "test" and shares.get("val", 0.0) > 0
        )  # train, and val after test, get a group too
        for group in ordered:
            spare = len(sizes) < 3 or len(sizes) - len(drawn) > later
            if (
                spare
                and group not in drawn
                and abs(taken + sizes[group] - target) <= target - taken
            ):
                drawn[group] = name
                taken += sizes[group]
        free = [group for group in ordered if group not in drawn]
        if target and not taken and len(sizes) >= 3 and len(free) >= 2:
            drawn[min(free, key=sizes.__getitem__)] = name
    return drawn


def group_numbers(groups: Sequence[object] | np.ndarray | None, items: int) -> np.ndarray:
    """0 … G−1 for each item, int (n,); every item is its own group where none are named."""
    if groups is None:
        return np.arange(items)
    if len(groups) != items:
        raise ValueError(f"{len(groups)} groups for {items} items")
    place: dict[object, int] = {}
    return np.array([place.setdefault(g, len(place)) for g in groups], int)


def folds(groups: Sequence[object] | np.ndarray, k: int = 10, seed: int = 0) -> np.ndarray:
    """The fold 0 … k−1 of each item, int (n,): whole groups, the largest first into the emptiest fold."""
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
