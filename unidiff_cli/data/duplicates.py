"""Which images belong together: equal images, near-equal ones, and those of one product.

A group must not be torn apart between training and test.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Bytes of an image's sha256 that name a group without a product, as hex.
NAME = 6

Ints = NDArray[np.int_]
# (n,), of bytes: the starts of sha256.
Contents = NDArray[np.bytes_]


class Union:
    """Disjoint sets of 0 … n − 1."""

    def __init__(self, count: int) -> None:
        self._parent = array("q", range(count))

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

    def join_equal(self, values: np.ndarray, items: Ints) -> None:
        """Joins items (m,) whose values (m,) are equal."""
        numbers, first = numbered_alike(values)
        others = np.flatnonzero(first[numbers] != np.arange(len(values)))
        for item, other in zip(items[first[numbers[others]]], items[others], strict=True):
            self.join(int(item), int(other))

    def roots(self) -> Ints:
        """The smallest member of the set of each item, (n,)."""
        roots = np.array(self._parent, int)
        while True:
            above = roots[roots]
            if np.array_equal(above, roots):
                return roots
            roots = above


def numbered_alike(values: np.ndarray) -> tuple[Ints, Ints]:
    """A number for each value, equal for equal ones, (n,), and where each number is first, (D,).

    They are 0 … D − 1 in the order in which D distinct values first stand.
    """
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return place[inverse], first[order]


class Members:
    """The items of each number, in their order; `numbers` (n,) are those of all items."""

    def __init__(self, numbers: Ints) -> None:
        self._order = np.argsort(numbers, kind="stable")
        self._ranked = numbers[self._order]

    def __call__(self, number: int) -> Ints:
        start, end = np.searchsorted(self._ranked, [number, number + 1])
        return self._order[start:end]


def members_of(numbers: Ints, chosen: Ints) -> Iterator[Ints]:
    """The items of each chosen number, in their order."""
    return map(Members(numbers), chosen.tolist())


@dataclass(frozen=True)
class Groups:
    """The group 0 … G − 1 of each image, (n,), and the image that each has its name from, (G,).

    The name is the product of that image, or the start of its sha256 in hex where `products` (n,),
    hashes of their names, are 0. It depends on the images of the group only, so it stays when a
    catalogue grows.
    """

    numbers: Ints
    named_by: Ints
    products: Ints
    contents: Contents
    product_of: Callable[[int], str]

    def name(self, group: int) -> str:
        """The name of a group."""
        image = int(self.named_by[group])
        return self.product_of(image) if self.products[image] else _name(self.contents[image])

    def name_of(self, image: int, product: str | None) -> str:
        """The name of the group of an image, whose own product is known."""
        group = int(self.numbers[image])
        if product and self.products[self.named_by[group]] == self.products[image]:
            return product
        return self.name(group)


def groups_of(
    products: Ints,
    contents: Contents,
    pairs: Iterable[tuple[int, int]],
    product_of: Callable[[int], str],
) -> Groups:
    """Groups of images of one product, equal images and near-equal pairs.

    `products` (n,) are hashes, 0 for none; `product_of` an image gives the name. A group has the
    name of its first product by the letters, or of its first content.
    """
    union = Union(len(contents))
    have = np.flatnonzero(products)
    union.join_equal(products[have], have)
    union.join_equal(contents, np.arange(len(contents)))
    for a, b in pairs:
        union.join(a, b)
    roots = union.roots()
    order = np.lexsort((_starts(contents), products == 0, roots))
    named_by = order[np.unique(roots[order], return_index=True)[1]]
    numbers = np.searchsorted(roots[named_by], roots)
    # Several products in one group.
    ranked = have[np.lexsort((products[have], numbers[have]))]
    begins = np.ones(len(ranked), bool)
    begins[1:] = np.diff(numbers[ranked]) != 0
    begins[1:] |= np.diff(products[ranked]) != 0
    one_of_each = ranked[begins]
    several = np.flatnonzero(np.bincount(numbers[one_of_each], minlength=1) > 1)
    chosen = one_of_each[np.isin(numbers[one_of_each], several)]
    for images in members_of(numbers[chosen], several):
        image = min(chosen[images].tolist(), key=product_of)
        named_by[numbers[image]] = image
    # Groups of one name are one.
    names = products[named_by]
    for group in np.flatnonzero(names == 0).tolist():
        names[group] = hash(_name(contents[named_by[group]]))
    merged, first = numbered_alike(names)
    return Groups(merged[numbers], named_by[first], products, contents, product_of)


def _name(content: bytes) -> str:
    # As numpy has it: without zeros at its end.
    return content[:NAME].ljust(NAME, b"\0").hex()


def _starts(contents: Contents) -> NDArray[np.uint64]:
    """The bytes of each content that name a group, as numbers."""
    return bytes_of(contents)[:, :8].copy().view(">u8")[:, 0] >> np.uint64(64 - 8 * NAME)


def bytes_of(contents: Contents) -> NDArray[np.uint8]:
    """Contents (n,) as their bytes, (n, size)."""
    return np.ascontiguousarray(contents).view(np.uint8).reshape(len(contents), -1)


def equal_sets(contents: Contents, pairs: Iterable[tuple[int, int]]) -> Iterator[Ints]:
    """Sets of two and more images that are equal or near-equal."""
    union = Union(len(contents))
    union.join_equal(contents, np.arange(len(contents)))
    for a, b in pairs:
        union.join(a, b)
    roots = union.roots()
    return members_of(roots, np.flatnonzero(np.bincount(roots, minlength=1) > 1))


def numbered(contents: Contents, content_of: Callable[[int], str]) -> Contents:
    """Contents, where all but the first of equal ones are hashed again with a number.

    `content_of` an image is its whole sha256, in hex.
    """
    numbers, first = numbered_alike(contents)
    result = contents.copy()
    several = np.flatnonzero(np.bincount(numbers, minlength=1) > 1)
    for images in members_of(numbers, several):
        content = content_of(int(images[0]))
        for number, image in enumerate(images[1:].tolist(), 1):
            digest = hashlib.sha256(f"{content} {number}".encode()).digest()
            result[image] = digest[: contents.itemsize]
    return result
