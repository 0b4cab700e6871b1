"""Finds images that are one photo, saved or scaled again, without comparing all with all.

Two hashes that differ in at most r bits agree wholly in one of r + 1 bands of their bits. So only
images that share a band are compared, and no pair that is near is missed. This is multi-index
hashing (Norouzi et al. 2012, arXiv:1307.2982).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# Mean difference of 4 x 4 mean colours, in levels; an image of another colour is another image.
COLOUR = 25.0
# Pairs that are compared at a time, some 100 bytes each: they bound memory.
PAIRS = 1 << 17
# Pairs of colours that are compared at a time.
SHADES = 1 << 15
# Hashes by which bits are judged, and bits of a band that are used: they fit into a word.
JUDGED, KEY = 10_000, 62

Ints = NDArray[np.intp]
# (4, N), the bits of hashes.
Words = NDArray[np.uint64]
Bytes = NDArray[np.uint8]


def near_pairs(
    hashes: Bytes, colours: Bytes, flat: NDArray[np.bool_], bits: int
) -> list[tuple[int, int]]:
    """Pairs of images within so many bits whose colours agree, a spanning set of them, sorted.

    hashes (N, 32), colours (N, 48), flat (N,). Flat images are near to none. Images that many pairs
    lead to are one set, and a set has one pair less than images. Soft images share many bands, and
    far more of them are compared.
    """
    usable = np.flatnonzero(~flat)
    words = np.ascontiguousarray(np.ascontiguousarray(hashes).view(np.uint64).T)
    links = _Links(np.arange(len(hashes)))
    clusters = _clusters(words, colours, usable, links)
    own = np.ascontiguousarray(words[:, clusters.leaders])
    masks = _masks(hashes[usable], bits + 1)
    for number in range(len(masks)):
        for a, b in _sharing(own, masks, number, bits):
            clusters.link(a, b, links)
    return sorted((min(a, b), max(a, b)) for edges in links.edges for a, b in edges.tolist())


# ---------------------------------------------------------------- sets of images


@dataclass
class _Links:
    """Sets of images that grow as pairs are found; `edges` (E, 2) are the pairs that made them.

    `labels` (N,) has the smallest image of each image's set.
    """

    labels: Ints
    edges: list[Ints] = field(default_factory=list)

    def add(self, a: Ints, b: Ints) -> None:
        """Joins the sets of each pair; only pairs that join two sets are kept."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

        ends = np.sort(np.stack([self.labels[a], self.labels[b]]), axis=0)
        # One pair for each two sets, the first.
        _, first = np.unique(ends[0] * len(self.labels) + ends[1], return_index=True)
        first = np.sort(first[ends[0, first] != ends[1, first]])
        if not len(first):
            return
        nodes, places = np.unique(ends[:, first], return_inverse=True)
        left, right = places.reshape(2, -1)
        numbers = np.arange(1.0, len(first) + 1)
        graph = coo_array((numbers, (left, right)), shape=(len(nodes), len(nodes))).tocsr()
        tree = minimum_spanning_tree(graph)
        chosen = first[tree.data.astype(np.intp) - 1]
        self.edges.append(np.stack([a[chosen], b[chosen]], axis=1))
        count, component = connected_components(tree, directed=False)
        smallest = np.full(count, len(self.labels))
        np.minimum.at(smallest, component, nodes)
        table = np.arange(len(self.labels))
        table[nodes] = smallest[component]
        self.labels = table[self.labels]


@dataclass
class _Clusters:
    """Images of one hash whose colours are so like their leader's that any two are near.

    `leaders` (C,) are images, and so are `members` (M,), cluster by cluster; those of cluster c
    begin at `starts[c]` (C + 1,). `reach` (C,) is how far a member's colour is from its leader's.
    """

    colours: Bytes
    leaders: Ints
    members: Ints
    starts: Ints
    reach: Ints

    def link(self, a: Ints, b: Ints, links: _Links) -> None:
        """Joins clusters whose hashes are near, pair by pair, where colours of theirs are."""
        a, b = _apart(a, b, self.leaders, links)
        distance = _differences(self.colours, self.leaders[a], self.leaders[b])
        near = distance <= _most(self.colours)
        links.add(self.leaders[a[near]], self.leaders[b[near]])
        # Their leaders are not near, and others of them may be.
        maybe = ~near & (distance <= _most(self.colours) + self.reach[a] + self.reach[b])
        for c, d in zip(a[maybe].tolist(), b[maybe].tolist(), strict=True):
            if links.labels[self.leaders[c]] != links.labels[self.leaders[d]]:
                self._link_members(c, d, links)

    def _link_members(self, c: int, d: int, links: _Links) -> None:
        ours, theirs = (self.members[self.starts[n] : self.starts[n + 1]] for n in (c, d))
        for member in ours:
            distance = _differences(self.colours, np.full(len(theirs), member), theirs)
            if distance.min() <= _most(self.colours):
                links.add(np.array([member]), theirs[[distance.argmin()]])
                return


def _apart(a: Ints, b: Ints, leaders: Ints, links: _Links) -> tuple[Ints, Ints]:
    """The pairs of clusters that are not in one set already."""
    new = links.labels[leaders[a]] != links.labels[leaders[b]]
    return a[new], b[new]


def _clusters(words: Words, colours: Bytes, usable: Ints, links: _Links) -> _Clusters:
    """Images of one hash, taken together by their colours; each is linked with its leader.

    A leader is the first image that no leader before it takes.
    """
    order = usable[np.lexsort(words[:, usable])]
    begins = np.ones(len(order), bool)
    begins[1:] = (words[:, order[1:]] != words[:, order[:-1]]).any(axis=0)
    group = np.cumsum(begins) - 1
    leader, reach = order.copy(), np.zeros(len(order), np.intp)
    rest = np.flatnonzero(np.bincount(group, minlength=1)[group] > 1)
    while len(rest):
        # The first that is left of each group.
        is_first = np.diff(group[rest], prepend=-1) > 0
        first = order[rest[is_first]][np.cumsum(is_first) - 1]
        distance = _differences(colours, order[rest], first)
        # Two that are so near to it are near to each other.
        taken = distance <= _most(colours) / 2
        leader[rest[taken]], reach[rest[taken]] = first[taken], distance[taken]
        rest = rest[~taken]
    by_leader = np.argsort(leader, kind="stable")
    leaders, starts = np.unique(leader[by_leader], return_index=True)
    members = order[by_leader]
    follows = leader != order
    links.edges.append(np.stack([leader[follows], order[follows]], axis=1))
    links.labels[order] = leader
    farthest = np.maximum.reduceat(reach[by_leader], starts) if len(starts) else starts
    return _Clusters(colours, leaders, members, np.append(starts, len(members)), farthest)


def _most(colours: Bytes) -> float:
    """The sum of differences up to which colours agree."""
    return COLOUR * colours.shape[1]


def _differences(colours: Bytes, a: Ints, b: Ints) -> Ints:
    """The sum of differences of colour for each pair of images, (P,)."""
    result = np.empty(len(a), np.intp)
    for start in range(0, len(a), SHADES):
        part = slice(start, start + SHADES)
        one, other = colours[a[part]].astype(np.int16), colours[b[part]]
        result[part] = np.abs(one - other).sum(axis=1)
    return result


# ---------------------------------------------------------------- bands


def _masks(hashes: Bytes, bands: int) -> Words:
    """The bits of each band as a mask of four words, (bands, 4).

    Bits that differ most often come first and are dealt out in turn, so that no band is one that
    most images share.
    """
    step = max(1, len(hashes) // JUDGED)
    share = np.unpackbits(hashes[::step], axis=1).mean(axis=0) if len(hashes) else np.zeros(256)
    order = np.argsort(np.abs(share - 0.5), kind="stable")
    masks = np.zeros((min(bands, len(order)), len(order)), np.uint8)
    for number, mask in enumerate(masks):
        mask[order[number :: len(masks)][:KEY]] = 1
    return np.packbits(masks, axis=1).view(np.uint64)


def _sharing(words: Words, masks: Words, number: int, bits: int) -> Iterator[tuple[Ints, Ints]]:
    """Pairs (P,), (P,) within so many bits whose first band in common is that of the number."""
    key = _keys(words, masks[number])
    order = np.argsort(key, kind="stable")
    ranked = np.ascontiguousarray(words[:, order])
    for left, right in _pairs_of_equal(key[order]):
        # They share a band, so fewer than 256 bits differ: a byte holds the number.
        differ = [word[left] ^ word[right] for word in ranked]
        near = np.flatnonzero(sum(np.bitwise_count(word) for word in differ) <= bits)
        if not len(near):
            continue
        differing = np.stack([word[near] for word in differ])
        # Soft images share several bands; one comparison of them is enough.
        for mask in masks[:number]:
            seen = ~(differing & mask[:, None]).any(axis=0)
            near, differing = near[~seen], differing[:, ~seen]
        yield order[left[near]], order[right[near]]


def _keys(words: Words, mask: Words) -> Words:
    """The bits of a mask, at most 62, as one number for each hash, (N,)."""
    keys = np.zeros(words.shape[1], np.uint64)
    for word, wanted in zip(words, mask.tolist(), strict=True):
        for place in range(64):
            if wanted >> place & 1:
                keys = keys << np.uint64(1) | word >> np.uint64(place) & np.uint64(1)
    return keys


def _pairs_of_equal(ranked: Words) -> Iterator[tuple[Ints, Ints]]:
    """The positions of any two equal numbers of a sorted (N,), some PAIRS at a time."""
    begins = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    lengths = np.diff(begins, append=len(ranked))
    # How many of its equals stand behind each.
    behind = np.repeat(begins + lengths, lengths) - np.arange(len(ranked)) - 1
    heads = np.flatnonzero(behind)
    until = np.cumsum(behind[heads])
    start = 0
    while start < len(heads):
        done = int(until[start - 1]) if start else 0
        end = max(start + 1, int(np.searchsorted(until, done + PAIRS, "right")))
        counts = behind[heads[start:end]]
        left = np.repeat(heads[start:end], counts)
        ahead = np.arange(len(left)) - np.repeat(until[start:end] - counts - done, counts)
        yield left, left + 1 + ahead
        start = end
