"""Train, val and test: which group goes where; and k folds by group."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Sequence
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from unidiff_cli.config.values import SplitName
from unidiff_cli.data.doubts import Doubt

NAMES: tuple[str, ...] = get_args(SplitName)
# Rows of which some are held out, if they can be.
MANY = 10

Ints = NDArray[np.int_]


def code_of(name: str | None) -> int:
    """The number of a split, -1 for none."""
    return NAMES.index(name) if name else -1


def doubts(splits: Ints, shares: tuple[float, float, float]) -> list[Doubt]:
    """What train and evaluate will lack, by the number of every row's split."""
    there = {NAMES[code] for code in np.unique(splits).tolist()}
    missing = [name for name, share in zip(NAMES, shares, strict=True) if share]
    missing = [name for name in missing if name not in there]
    if "train" in missing:
        return [
            Doubt(
                f"All rows are in {' and '.join(sorted(there))}, so train has nothing to "
                "learn from.",
                "To split them by share: --set prepare.columns.split=''",
            )
        ]
    if missing and len(splits) >= MANY and there == {"train"}:
        return [
            Doubt(
                "All rows are in train, so nothing is held out to validate and evaluate with.",
                "They may be one product; to split its images: --set prepare.columns.product=''",
            )
        ]
    return []


def assign_splits(
    groups: Ints,
    name_of: Callable[[int], str],
    mapped: Ints,
    shares: tuple[float, float, float],
    seed: int,
) -> Ints:
    """The number of the split of every image: as mapped, else whole groups near the given shares.

    `groups` (n,) are 0 … G − 1 and have names; `mapped` (n,) is -1 for none. Groups are ordered by
    a seeded hash of their names; test is filled from one end and val from the other, so most groups
    keep their split when a catalogue grows. A split that a mapping never names is taken from its
    train.
    """
    sizes = np.bincount(groups)
    # Of several the last of NAMES: test goes before val.
    given = np.full(len(sizes), -1)
    np.maximum.at(given, groups, mapped)
    named = {NAMES[code] for code in np.unique(mapped).tolist() if code >= 0}
    wanted = {name: share for name, share in zip(NAMES, shares, strict=True) if name not in named}
    chosen = _held_out(np.flatnonzero(given <= 0), name_of, sizes, wanted, seed)
    otherwise = np.where(mapped >= 0, mapped, np.maximum(given, 0)[groups])
    return np.where(chosen[groups] >= 0, chosen[groups], otherwise)


def _held_out(
    free: Ints, name_of: Callable[[int], str], sizes: Ints, shares: dict[str, float], seed: int
) -> Ints:
    """The splits of the groups that go to test and val, each split close to its share; else -1."""
    keys = np.fromiter((_order_of(name_of(group), seed) for group in free.tolist()), np.uint64)
    order = array("q", free[np.argsort(keys, kind="stable")].tobytes())
    size_of, total = array("q", sizes.astype("q").tobytes()), int(sizes[free].sum())
    chosen = array("b", [-1]) * len(sizes)
    taken = 0
    for name, ordered in (("test", order), ("val", order[::-1])):
        target, filled = shares.get(name, 0.0) * total, 0
        # Train gets a group too, and while test is filled so does val.
        reserved = 1 + (name == "test" and shares.get("val", 0.0) > 0)
        for group in ordered:
            spare = len(free) < 3 or len(free) - taken > reserved
            fits = abs(filled + size_of[group] - target) <= target - filled
            if spare and chosen[group] < 0 and fits:
                chosen[group] = code_of(name)
                filled += size_of[group]
                taken += 1
        if target and not filled and len(free) >= 3 and len(free) - taken >= 2:
            least = min((g for g in ordered if chosen[g] < 0), key=size_of.__getitem__)
            chosen[least] = code_of(name)
            taken += 1
    return np.array(chosen)


def _order_of(name: str, seed: int) -> int:
    digest = hashlib.sha256(f"{seed}:{name}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big")


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
