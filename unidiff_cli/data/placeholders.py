"""Finds "no image" files: one image that stands for many products, by its unlike captions.

An image of one product may stand in many rows too: its sizes and colours have captions that are
alike, and a product column that names one product. A catalogue with five captions an image has
five rows of every image; so a placeholder has far more rows than half of the images.

Where captions are names of classes they say nothing of that: there, one image in many files is
doubtful.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from unidiff_cli.data import duplicates, near_duplicates
from unidiff_cli.data.stored_samples import StoredSamples

# Hash bits of 256 and levels of colour in which copies of one file differ.
BITS, LEVELS = 6, 6.0
# Copies of an image of one colour: levels in which their colours differ.
ONE_COLOUR = 2.0
# Files of one cluster whose copies are looked for.
PIVOTS = 500
# How many more unlike captions than an image of this catalogue has as a rule.
FACTOR = 3
# Unlike captions from which an image is suspicious.
SUSPICIOUS = 3
# Unlike captions that are counted; who has so many is no product.
MOST = 100
# Files of one image among classes that are doubtful: so many, and in two classes or this share.
FILES, SHARE = 5, 0.05
# The share of common words from which two captions are alike, and the share of all captions from
# which a word says nothing about a product.
ALIKE, COMMON = 0.5, 0.5
# Sizes; digits are no words here.
_WORD = re.compile(r"[^\W\d_]+")
_SIZES = frozenset("xs s m l xl xxl xxxl xxs small medium large".split())
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]")


@dataclass(frozen=True)
class Placeholder:
    """One image that stands for many products: its rows, and how many unlike captions they have."""

    rows: list[int]
    captions: int


def copies(stored: StoredSamples, near: bool) -> list[list[int]]:
    """Rows of one image each, several rows only; `near`: also where copies differ a little."""
    return [rows for rows in _clusters(stored, near) if len(rows) > 1] if len(stored) else []


def find_placeholders(
    stored: StoredSamples, clusters: Iterable[list[int]], least: int
) -> list[Placeholder]:
    """Images with `least` and more unlike captions; `clusters` are the `copies`."""
    if not stored:
        return []
    least = max(least, FACTOR * _rows_of_an_image(stored))
    candidates = [rows for rows in clusters if len(rows) >= least]
    if not candidates:
        return []
    common = _common_words(texts[0] for texts in stored.captions())
    result = []
    for rows in candidates:
        # One caption of each product; a row without a product is one itself.
        products = stored.column("product", np.array(rows)).tolist()
        first: dict[tuple[int, int], int] = {}
        for n, product in zip(rows, products, strict=True):
            first.setdefault((product, 0 if product else n), n)
        count = _unlike((stored[n].sample.captions[0] for n in sorted(first.values())), common)
        if count >= least:
            result.append(Placeholder(rows, count))
    return result


def find_repeated(stored: StoredSamples, clusters: Iterable[list[int]]) -> list[Placeholder]:
    """Images in many files whose captions are those of classes: other images have them too.

    Rows that name one file, or one product, are one.
    """
    many = [rows for rows in clusters if len(rows) >= FILES]
    if not many:
        return []
    contents = stored.column("content")
    # The images of each caption.
    of_caption: dict[str, set[bytes]] = {
        stored[n].sample.captions[0]: set() for rows in many for n in rows
    }
    for (caption, *_), content in zip(stored.captions(), contents, strict=True):
        if caption in of_caption:
            of_caption[caption].add(content)
    result = []
    for rows in many:
        items = [stored[n] for n in rows]
        files = {item.sample.product or item.path or n for n, item in zip(rows, items, strict=True)}
        images = set(contents[rows])
        captions = {item.sample.captions[0] for item in items}
        classes = {caption for caption in captions if of_caption[caption] - images}
        share = len(rows) >= SHARE * len(stored)
        if len(files) >= FILES and (len(classes) > 1 or (classes and share)):
            result.append(Placeholder(rows, len(classes)))
    return result


def _rows_of_an_image(stored: StoredSamples) -> int:
    """The rows that half of the images have at most."""
    return int(np.median(np.unique(stored.column("content"), return_counts=True)[1]))


# ---------------------------------------------------------------- copies of one file


def _clusters(stored: StoredSamples, near: bool) -> Iterator[list[int]]:
    """Rows whose images are one file, or copies of it; a row alone may be left out."""
    numbers, first = duplicates.numbered_alike(stored.column("content"))
    counts = np.bincount(numbers)
    if not near:
        several = duplicates.members_of(numbers, np.flatnonzero(counts > 1))
        yield from (rows.tolist() for rows in several)
        return
    # (D, 32), (D, 48) and (D,) of D images that are not equal.
    hashes, colours, flat = (stored.column(name, first) for name in ("phash", "colour", "is_flat"))
    linked = duplicates.Union(len(first))
    for a, b in near_duplicates.near_pairs(hashes, colours, flat, BITS):
        linked.join(a, b)
    roots = linked.roots()
    # Sets of images with several rows.
    chosen = np.flatnonzero((np.bincount(roots, counts, len(roots)) > 1) & ~flat)
    sets = chain(duplicates.members_of(roots, chosen), [np.flatnonzero(flat)])
    rows_of = duplicates.Members(numbers)
    for members in sets:
        # Equal ones first: most copies have not changed.
        rest = members[np.argsort(-counts[members], kind="stable")]
        for _ in range(min(len(rest), PIVOTS)):
            if not len(rest):
                break
            alike = _copies(rest, hashes, colours, flat)
            yield sorted(n for image in rest[alike] for n in rows_of(image).tolist())
            rest = rest[~alike]


def _copies(
    members: NDArray[np.int_],
    hashes: NDArray[np.uint8],
    colours: NDArray[np.uint8],
    flat: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Which of the images are copies of the first; (M,)."""
    first = members[0]
    distance = np.abs(colours[members].astype(np.int16) - colours[first]).mean(axis=1)
    if flat[first]:
        alike = flat[members] & (distance <= ONE_COLOUR)
    else:
        bits = np.bitwise_count(hashes[members] ^ hashes[first]).sum(axis=1)
        alike = ~flat[members] & (bits <= BITS) & (distance <= LEVELS)
    alike[0] = True
    return alike


# ---------------------------------------------------------------- captions that are alike


def _words(caption: str) -> frozenset[str]:
    """The words that may name a product; pairs of letters where a script has no blanks."""
    words = []
    for word in _WORD.findall(caption.casefold()):
        if _UNSPACED.search(word):
            words += [word[n : n + 2] for n in range(max(1, len(word) - 1))]
        elif word not in _SIZES:
            words.append(word)
    return frozenset(words) or frozenset([caption.casefold()])


def _common_words(captions: Iterable[str]) -> frozenset[str]:
    """Words that most captions of a catalogue have, such as "photo"."""
    distinct = set(captions)
    counts = Counter(word for caption in distinct for word in _words(caption))
    return frozenset(word for word, n in counts.items() if n >= max(2, COMMON * len(distinct)))


def _unlike(captions: Iterable[str], common: frozenset[str]) -> int:
    """How many captions are unlike each other, MOST at most."""
    kinds: list[frozenset[str]] = []
    for words in dict.fromkeys(map(_words, captions)):
        words = words - common or words
        if not any(len(words & kind) >= ALIKE * len(words | kind) for kind in kinds):
            kinds.append(words)
        if len(kinds) == MOST:
            break
    return len(kinds)
