"""Which images belong together: the images of one product, equal images and near-equal ones.

A group must not be torn apart between training and test.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

# Mean difference of 4 x 4 mean colours, in levels; an image of another colour is another image.
COLOUR = 25.0
# Images that are compared with all others at a time.
PIVOTS = 16


class Union:
    """Disjoint sets of 0 … n − 1."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def find(self, item: int) -> int:
        """The smallest member of an item's set."""
        while self._parent[item] != item:
            self._parent[item] = self._parent[self._parent[item]]
            item = self._parent[item]
        return item

    def join(self, item: int, other: int) -> bool:
        """Makes two sets one; False where they already were."""
        a, b = sorted((self.find(item), self.find(other)))
        self._parent[b] = a
        return a != b

    def sets(self) -> list[list[int]]:
        """The members of each set, in order."""
        members: dict[int, list[int]] = {}
        for item in range(len(self._parent)):
            members.setdefault(self.find(item), []).append(item)
        return list(members.values())


def near_pairs(
    hashes: NDArray[np.uint8], colours: NDArray[np.uint8], flat: NDArray[np.bool_], bits: int
) -> list[tuple[int, int]]:
    """Pairs of images within so many bits whose colours agree, a spanning set of them.

    hashes (N, 32), colours (N, 48), flat (N,). Two hashes that differ in at most `bits` of 256
    agree wholly in one of `bits + 1` bands, so only images that share a band are compared: 100,000
    photos take seconds. Images that share most bands (soft ones) are all compared with all: 50,000
    of them take a minute.
    """
    usable = np.flatnonzero(~flat)
    words = np.ascontiguousarray(np.ascontiguousarray(hashes).view(np.uint64).T)  # (4, N)
    single_bits = np.unpackbits(hashes, axis=1)  # (N, 256)
    union, pairs, compared = Union(len(hashes)), [], set()
    for band in np.array_split(np.arange(single_bits.shape[1]), bits + 1):
        for members in _sharing(usable, np.packbits(single_bits[usable][:, band], axis=1)):
            # Soft images share several bands; what was compared once gives nothing new.
            if (known := hash(members.tobytes())) in compared:
                continue
            compared.add(known)
            for a, b in _alike(members, words, colours, bits):
                if union.join(a, b):
                    pairs.append((min(a, b), max(a, b)))
    return pairs


def _sharing(usable: NDArray[np.intp], keys: NDArray[np.uint8]) -> list[NDArray[np.intp]]:
    """The images that have one key in common, key by key."""
    rows = np.ascontiguousarray(keys).view(f"V{keys.shape[1]}").ravel()
    _, inverse, counts = np.unique(rows, return_inverse=True, return_counts=True)
    shared = (counts > 1)[inverse]
    order = np.argsort(inverse[shared], kind="stable")
    return np.split(usable[shared][order], np.cumsum(counts[counts > 1])[:-1])


def _alike(
    members: NDArray[np.intp], words: NDArray[np.uint64], colours: NDArray[np.uint8], bits: int
) -> Iterator[tuple[int, int]]:
    """Pairs whose hashes and colours are close.

    Each image is compared with all, unless it already matched one: thousands of copies of one image
    cost one comparison, not millions.
    """
    matched = np.zeros(len(members), bool)
    own, shades = words[:, members], colours[members].astype(np.int16)
    most = COLOUR * shades.shape[1]
    for start in range(0, len(members) - 1, PIVOTS):
        pivots = start + np.flatnonzero(~matched[start:-1][:PIVOTS])
        # They share a band, so fewer than 256 bits differ: a byte holds the number.
        distance = sum(np.bitwise_count(word ^ word[pivots, None]) for word in own)
        near, others = np.nonzero(distance <= bits)
        near = pivots[near]
        alike = np.abs(shades[near] - shades[others]).sum(axis=1) <= most
        for n, m in zip(near[alike], others[alike], strict=True):
            if m != n and not matched[n]:
                matched[m] = True
                yield int(members[n]), int(members[m])


def group_names(
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


def equal_sets(contents: Sequence[str], pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Sets of two and more images that are equal or near-equal."""
    union = Union(len(contents))
    first: dict[str, int] = {}
    for n, content in enumerate(contents):
        union.join(first.setdefault(content, n), n)
    for a, b in pairs:
        union.join(a, b)
    return [members for members in union.sets() if len(members) > 1]


def numbered(contents: Sequence[str]) -> list[str]:
    """The content hashes, where all but the first of equal ones are hashed again with a number."""
    seen: Counter[str] = Counter()
    names = []
    for content in contents:
        number = f"{content} {seen[content]}".encode()
        names.append(hashlib.sha256(number).hexdigest() if seen[content] else content)
        seen[content] += 1
    return names
