"""Which images belong together: the images of one product, equal images and near-equal ones.

A group must not be torn apart between training and test.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence


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
