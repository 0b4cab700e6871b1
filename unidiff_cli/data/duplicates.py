"""Which images belong together, and which group goes to which split.

A group is what must not be torn apart between training and test: the images of one product, equal images,
and near-equal ones (the same photo scaled or saved again).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

COLOUR = 25.0  # mean difference of 4 x 4 mean colours, in levels; an image of another colour is another image


class Union:
    """Disjoint sets of 0 … n-1."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def find(self, one: int) -> int:
        while self._parent[one] != one:
            self._parent[one] = self._parent[self._parent[one]]
            one = self._parent[one]
        return one

    def join(self, one: int, other: int) -> bool:
        """Makes two sets one; False where they already were."""
        a, b = sorted((self.find(one), self.find(other)))
        self._parent[b] = a
        return a != b


def near(
    hashes: NDArray[np.uint8], colours: NDArray[np.uint8], flat: NDArray[np.bool_], bits: int
) -> list[tuple[int, int]]:
    """Pairs of images within so many bits whose colours agree, a spanning set of them.

    hashes (N, 32), colours (N, 48), flat (N,). Two hashes that differ in at most `bits` of 256 agree wholly in one
    of `bits + 1` bands, so only images that share a band are compared: 100,000 images take seconds.
    """
    use = np.flatnonzero(~flat)
    words = np.ascontiguousarray(hashes).view(np.uint64)  # (N, 4)
    spread = np.unpackbits(hashes, axis=1)  # (N, 256)
    union, pairs = Union(len(hashes)), []
    for band in np.array_split(np.arange(spread.shape[1]), bits + 1):
        for members in _sharing(use, np.packbits(spread[use][:, band], axis=1)):
            for a, b in _alike(members, words, colours, bits):
                if union.join(a, b):
                    pairs.append((min(a, b), max(a, b)))
    return pairs


def _sharing(use: NDArray[np.intp], keys: NDArray[np.uint8]) -> list[NDArray[np.intp]]:
    """The images that have one key in common, key by key."""
    rows = np.ascontiguousarray(keys).view(f"V{keys.shape[1]}").ravel()
    _, inverse, counts = np.unique(rows, return_inverse=True, return_counts=True)
    several = (counts > 1)[inverse]
    order = np.argsort(inverse[several], kind="stable")
    return np.split(use[several][order], np.cumsum(counts[counts > 1])[:-1])


def _alike(
    members: NDArray[np.intp], words: NDArray[np.uint64], colours: NDArray[np.uint8], bits: int
) -> Iterator[tuple[int, int]]:
    """Pairs whose hashes and colours are close. Each image is compared with all, unless it already matched one:
    thousands of copies of one image cost one comparison, not millions."""
    matched = np.zeros(len(members), bool)
    for n, pivot in enumerate(members[:-1]):
        if matched[n]:
            continue
        apart = np.bitwise_count(words[members] ^ words[pivot]).sum(axis=1, dtype=np.uint16)
        for m in np.flatnonzero(apart <= bits):
            if (
                m != n
                and np.abs(colours[members[m]].astype(np.int16) - colours[pivot]).mean() <= COLOUR
            ):
                matched[m] = True
                yield int(pivot), int(members[m])


def join(
    products: Sequence[str | None], contents: Sequence[str], pairs: Iterable[tuple[int, int]]
) -> list[str]:
    """A group's name for every image: its first product's, or the start of its first content hash.

    The name depends on the images of the group only, so it stays when a catalogue grows.
    """
    union = Union(len(contents))
    first: dict[tuple[str, str], int] = {}
    for kind, values in (("product", products), ("content", contents)):
        for n, value in enumerate(values):
            if value:
                union.join(first.setdefault((kind, value), n), n)
    for a, b in pairs:
        union.join(a, b)
    names: dict[int, tuple[bool, str]] = {}
    for n, (product, content) in enumerate(zip(products, contents, strict=True)):
        name = (not product, product or content[:12])
        root = union.find(n)
        names[root] = min(names.get(root, name), name)
    return [names[union.find(n)][1] for n in range(len(contents))]
