"""Which decoded images go into the shards: without placeholders and, if asked, without duplicates.

What is left out stays a row: rejected, with its reason and the key that keeps it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data import duplicates, near_duplicates
from unidiff_cli.data.decode import Decoded, StoredSample
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.placeholders import (
    SUSPICIOUS,
    Placeholder,
    copies,
    find_placeholders,
    find_repeated,
)
from unidiff_cli.data.sample import Cause, Reason, Rejected
from unidiff_cli.data.splits import NAMES

# Images that a doubt names.
NAMED = 3
# What keeps the images that a rule leaves out.
KEEPS = {
    Cause.SMALL: "If they are products: --set prepare.min_side=1.",
    Cause.STRIP: "If they are products: --set prepare.max_aspect=0.",
    Cause.PLACEHOLDER: "If it is a product: --set prepare.placeholder=0.",
}
JOINED = "captions taken over from equal images that were left out (prepare.dedupe: drop)"


@dataclass(frozen=True)
class Selection:
    """What goes into the shards and what does not.

    `pairs` are the near-equal images among `decoded.samples`. `placeholders` are the first image of
    each placeholder and its rows. `notes` and `doubts` are for a person.
    """

    decoded: Decoded
    pairs: list[tuple[int, int]]
    placeholders: list[tuple[StoredSample, int]]
    doubts: list[Doubt]
    notes: dict[str, int] = field(default_factory=dict)


def select(decoded: Decoded, options: Prepare) -> Selection:
    """Leaves out what the recipe's rules leave out, and says what is doubtful of the images."""
    least = options.placeholder
    clusters = copies(decoded.samples, options.near_duplicates > 0)
    found = find_placeholders(decoded.samples, clusters, min(least or SUSPICIOUS, SUSPICIOUS))
    certain = [item for item in found if least and item.captions >= least]
    left_out = {item.rows[0] for item in certain}
    repeated = [
        item for item in find_repeated(decoded.samples, clusters) if item.rows[0] not in left_out
    ]
    said = left_out | {item.rows[0] for item in repeated}
    images = [(decoded.samples[item.rows[0]], len(item.rows)) for item in certain]
    suspicions = [
        *_suspicions(decoded.samples, [item for item in found if item.rows[0] not in said]),
        *_repetitions(decoded.samples, repeated, options),
    ]
    decoded = _without(decoded, _placeholder_reasons(decoded, certain))
    if options.masks == "leave_out":
        reason = Reason(Cause.MASK.value, Cause.MASK)
        masks = (n for n, item in enumerate(decoded.samples) if item.image.mask)
        decoded = _without(decoded, dict.fromkeys(masks, reason))
    pairs = near_pairs(decoded.samples, options)
    notes = {}
    if options.dedupe == "drop":
        decoded, joined = _without_duplicates(decoded, pairs, options.limits.captions)
        notes = {JOINED: joined} if joined else {}
        pairs = []
    doubts = [
        *_doubts_of_rules(decoded, options),
        *suspicions,
        *_doubts_of_content(decoded.samples, options),
    ]
    return Selection(decoded, pairs, images, doubts, notes)


def near_pairs(stored: list[StoredSample], options: Prepare) -> list[tuple[int, int]]:
    """Pairs of images that are one photo, saved or scaled again."""
    if not stored or not options.near_duplicates or options.dedupe == "keep":
        return []
    # Of equal images one is enough: they are joined anyway.
    first = {item.image.content: n for n, item in reversed(list(enumerate(stored)))}
    chosen = sorted(first.values())
    images = [stored[n].image for n in chosen]
    hashes = np.frombuffer(b"".join(i.phash for i in images), np.uint8).reshape(len(images), -1)
    colours = np.frombuffer(b"".join(i.colour for i in images), np.uint8).reshape(len(images), -1)
    flat = np.array([i.flat for i in images], bool)
    pairs = near_duplicates.near_pairs(hashes, colours, flat, options.near_duplicates)
    return sorted((chosen[a], chosen[b]) for a, b in pairs)


# ---------------------------------------------------------------- what is left out


def _without(decoded: Decoded, reasons: Mapping[int, Reason]) -> Decoded:
    """The samples that have no reason to be left out; the others are rejected rows."""
    samples = [item for n, item in enumerate(decoded.samples) if n not in reasons]
    rejected = [
        Rejected(decoded.samples[n].sample.row, reasons[n], decoded.samples[n].path)
        for n in sorted(reasons)
    ]
    return Decoded(samples, [*decoded.rejected, *rejected])


def _placeholder_reasons(decoded: Decoded, items: Iterable[Placeholder]) -> dict[int, Reason]:
    return {
        n: Reason(
            f"one image for {len(item.rows):,} rows with unlike captions, as 'no image' files are; "
            f"the first is {_name(decoded.samples[item.rows[0]])} (prepare.placeholder)",
            Cause.PLACEHOLDER,
        )
        for item in items
        for n in item.rows
    }


def _without_duplicates(
    decoded: Decoded, pairs: list[tuple[int, int]], most: int
) -> tuple[Decoded, int]:
    """One image of each equal or near-equal set, and how many captions the others gave it.

    A held-out image stays before one of train, a larger one before a smaller, the first before the
    next. Captions of equal images are joined, `most` at most; near-equal images may differ.
    """
    stored = decoded.samples
    reasons: dict[int, Reason] = {}
    joined = 0
    samples = list(stored)
    for members in duplicates.equal_sets([item.image.content for item in stored], pairs):
        first = min(members, key=lambda n: (*_rank(stored[n]), n))
        equal = [n for n in members if stored[n].image.content == stored[first].image.content]
        own = stored[first].sample.captions
        captions = tuple(dict.fromkeys((*own, *_captions(stored, equal))))
        captions = captions[: max(most, len(own))]
        joined += len(captions) - len(own)
        samples[first] = replace(
            stored[first], sample=replace(stored[first].sample, captions=captions)
        )
        for n in members:
            if n != first:
                degree = "equal" if n in equal else "near-equal"
                name = _name(stored[first])
                reasons[n] = Reason(f"{degree} to {name} (prepare.dedupe: drop)", Cause.DUPLICATE)
    return _without(Decoded(samples, decoded.rejected), reasons), joined


def _captions(stored: list[StoredSample], rows: Iterable[int]) -> Iterable[str]:
    return (caption for n in rows for caption in stored[n].sample.captions)


def _rank(item: StoredSample) -> tuple[int, int]:
    """Test before val before train, then the most pixels."""
    return -NAMES.index(item.sample.split or "train"), -item.image.width * item.image.height


# ---------------------------------------------------------------- what is doubtful


def _doubts_of_rules(decoded: Decoded, options: Prepare) -> list[Doubt]:
    """What the rules left out; more than the share of bad rows that may be stops."""
    rows = len(decoded.samples) + len(decoded.rejected)
    doubts = []
    for cause, action in KEEPS.items():
        names = [item.path or item.row for item in decoded.rejected if item.reason.cause is cause]
        if names:
            fact = f"Left out, {cause.value}: {len(names):,} of {rows:,} images, {_some(names)}."
            doubts.append(Doubt(fact, action, stops=len(names) > options.max_bad * rows))
    return doubts


def _suspicions(stored: list[StoredSample], found: list[Placeholder]) -> list[Doubt]:
    """One doubt, which names the image of most rows."""
    if not found:
        return []
    first = max(found, key=lambda item: item.captions)
    names = [_name(stored[n]) for n in first.rows]
    others = f"{len(found) - 1:,} more do so too. " if found[1:] else ""
    return [
        Doubt(
            f"One image stands in {len(names):,} rows with unlike captions: {_some(names)}.",
            f"{others}If it is a 'no image' file: "
            f"--set prepare.placeholder={max(2, first.captions)}.",
        )
    ]


def _repetitions(
    stored: list[StoredSample], found: list[Placeholder], options: Prepare
) -> list[Doubt]:
    """One doubt of the images that stand in many files of classes; names that of most files."""
    if not found:
        return []
    first = max(found, key=lambda item: len(item.rows))
    names = [_name(stored[n]) for n in first.rows]
    classes = f", with {first.captions:,} captions" if first.captions > 1 else ""
    others = f" {len(found) - 1:,} more do so too." if found[1:] else ""
    rows = sum(len(item.rows) for item in found)
    settled = options.placeholder == 0 or options.dedupe == "drop"
    return [
        Doubt(
            f"One image stands in {len(names):,} of {len(stored):,} rows{classes}: {_some(names)}."
            + others,
            "If it is a 'no image' file, take it out; --set prepare.dedupe=drop reads it once. "
            "If it is a product: --set prepare.placeholder=0.",
            stops=not settled and rows > options.max_bad * len(stored),
        )
    ]


def _doubts_of_content(stored: list[StoredSample], options: Prepare) -> list[Doubt]:
    """Images among coloured ones that look as masks do, or show one colour only.

    A catalogue of line art or of swatches is as it is meant.
    """
    coloured = sum(item.image.coloured and not item.image.flat for item in stored)
    masks = [_name(item) for item in stored if item.image.mask]
    flat = [_name(item) for item in stored if item.image.flat]
    doubts = []
    if masks and options.masks is None and len(masks) <= coloured:
        doubts.append(
            Doubt(
                f"Two greys only, as masks have: {len(masks):,} of {len(stored):,} images, "
                f"{_some(masks)}.",
                "Say what they are: --set prepare.masks=leave_out, or keep.",
                stops=len(masks) > options.max_bad * len(stored),
            )
        )
    if flat and len(flat) <= coloured:
        doubts.append(
            Doubt(
                f"One colour and nothing else: {len(flat):,} of {len(stored):,} images, "
                f"{_some(flat)}.",
                "Take them out if they are no products; if they were transparent, choose another "
                "prepare.background.",
            )
        )
    return doubts


def _name(item: StoredSample) -> str:
    return item.path or item.sample.row


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
