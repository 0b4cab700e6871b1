"""Which decoded images go into the shards: without placeholders and, if asked, without duplicates.

What is left out stays a row: rejected, with its reason and the key that keeps it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data import duplicates, near_duplicates
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.duplicates import Ints
from unidiff_cli.data.placeholders import (
    SUSPICIOUS,
    Placeholder,
    copies,
    find_placeholders,
    find_repeated,
)
from unidiff_cli.data.sample import Cause, Reason, Rejected
from unidiff_cli.data.splits import NAMES
from unidiff_cli.data.stored_samples import Decoded, StoredSample, StoredSamples

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
        masks = np.flatnonzero(decoded.samples.column("is_mask")).tolist()
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


def near_pairs(stored: StoredSamples, options: Prepare) -> list[tuple[int, int]]:
    """Pairs of images that are one photo, saved or scaled again."""
    if not len(stored) or not options.near_duplicates or options.dedupe == "keep":
        return []
    # Of equal images one is enough: they are joined anyway.
    _, chosen = duplicates.numbered_alike(stored.column("content"))
    hashes, colours, flat = (stored.column(name, chosen) for name in ("phash", "colour", "is_flat"))
    pairs = near_duplicates.near_pairs(hashes, colours, flat, options.near_duplicates)
    return sorted((int(chosen[a]), int(chosen[b])) for a, b in pairs)


# ---------------------------------------------------------------- what is left out


def _without(decoded: Decoded, reasons: Mapping[int, Reason]) -> Decoded:
    """The samples that have no reason to be left out; the others are rejected rows."""
    if not reasons:
        return decoded
    stays = np.ones(len(decoded.samples), bool)
    stays[list(reasons)] = False
    left_out = ((n, decoded.samples[n]) for n in sorted(reasons))
    rejected = (Rejected(item.sample.row, reasons[n], item.path) for n, item in left_out)
    return Decoded(decoded.samples.take(np.flatnonzero(stays)), decoded.rejected.extended(rejected))


def _placeholder_reasons(decoded: Decoded, items: Iterable[Placeholder]) -> dict[int, Reason]:
    reasons: dict[int, Reason] = {}
    for item in items:
        reason = Reason(
            f"one image for {len(item.rows):,} rows with unlike captions, as 'no image' files are; "
            f"the first is {decoded.samples[item.rows[0]].name} (prepare.placeholder)",
            Cause.PLACEHOLDER,
        )
        reasons |= dict.fromkeys(item.rows, reason)
    return reasons


def _without_duplicates(
    decoded: Decoded, pairs: list[tuple[int, int]], most: int
) -> tuple[Decoded, int]:
    """One image of each equal or near-equal set, and how many captions the others gave it.

    A held-out image stays before one of train, a larger one before a smaller, the first before the
    next. Captions of equal images are joined, `most` at most; near-equal images may differ.
    """
    stored = decoded.samples
    reasons: dict[int, Reason] = {}
    first_ones: dict[int, StoredSample] = {}
    joined = 0
    for members in duplicates.equal_sets(stored.column("content"), pairs):
        items = {n: stored[n] for n in members.tolist()}
        n = min(items, key=lambda n: (*_rank(items[n]), n))
        first = items.pop(n)
        equal = [first, *(i for i in items.values() if i.image.content == first.image.content)]
        own = first.sample.captions
        captions = tuple(dict.fromkeys((*own, *_captions(equal))))
        captions = captions[: max(most, len(own))]
        joined += len(captions) - len(own)
        if captions != own:
            first_ones[n] = replace(first, sample=replace(first.sample, captions=captions))
        for other, item in items.items():
            degree = "equal" if item.image.content == first.image.content else "near-equal"
            reasons[other] = Reason(
                f"{degree} to {first.name} (prepare.dedupe: drop)", Cause.DUPLICATE
            )
    return _without(Decoded(stored.replaced(first_ones), decoded.rejected), reasons), joined


def _captions(items: Iterable[StoredSample]) -> Iterable[str]:
    return (caption for item in items for caption in item.sample.captions)


def _rank(item: StoredSample) -> tuple[int, int]:
    """Test before val before train, then the most pixels."""
    return -NAMES.index(item.sample.split or "train"), -item.image.width * item.image.height


# ---------------------------------------------------------------- what is doubtful


def _doubts_of_rules(decoded: Decoded, options: Prepare) -> list[Doubt]:
    """What the rules left out; more than the share of bad rows that may be stops."""
    rows = len(decoded.samples) + len(decoded.rejected)
    counts: Counter[Cause | None] = Counter()
    names: dict[Cause | None, list[str]] = {cause: [] for cause in KEEPS}
    for item in decoded.rejected:
        counts[item.reason.cause] += 1
        if len(named := names.get(item.reason.cause, [])) < NAMED:
            named.append(item.path or item.row)
    doubts = []
    for cause, action in KEEPS.items():
        if count := counts[cause]:
            some = _some(names[cause], count)
            fact = f"Left out, {cause.value}: {count:,} of {rows:,} images, {some}."
            doubts.append(Doubt(fact, action, stops=count > options.max_bad * rows))
    return doubts


def _suspicions(stored: StoredSamples, found: list[Placeholder]) -> list[Doubt]:
    """One doubt, which names the image of most rows."""
    if not found:
        return []
    first = max(found, key=lambda item: item.captions)
    others = f"{len(found) - 1:,} more do so too. " if found[1:] else ""
    return [
        Doubt(
            f"One image stands in {len(first.rows):,} rows with unlike captions: "
            f"{_names(stored, first.rows)}.",
            f"{others}If it is a 'no image' file: "
            f"--set prepare.placeholder={max(2, first.captions)}.",
        )
    ]


def _repetitions(stored: StoredSamples, found: list[Placeholder], options: Prepare) -> list[Doubt]:
    """One doubt of the images that stand in many files of classes; names that of most files."""
    if not found:
        return []
    first = max(found, key=lambda item: len(item.rows))
    classes = f", with {first.captions:,} captions" if first.captions > 1 else ""
    others = f" {len(found) - 1:,} more do so too." if found[1:] else ""
    rows = sum(len(item.rows) for item in found)
    settled = options.placeholder == 0 or options.dedupe == "drop"
    return [
        Doubt(
            f"One image stands in {len(first.rows):,} of {len(stored):,} rows{classes}: "
            f"{_names(stored, first.rows)}.{others}",
            "If it is a 'no image' file, take it out; --set prepare.dedupe=drop reads it once. "
            "If it is a product: --set prepare.placeholder=0.",
            stops=not settled and rows > options.max_bad * len(stored),
        )
    ]


def _doubts_of_content(stored: StoredSamples, options: Prepare) -> list[Doubt]:
    """Images among coloured ones that look as masks do, or show one colour only.

    A catalogue of line art or of swatches is as it is meant.
    """
    is_flat = stored.column("is_flat")
    coloured = int((stored.column("is_coloured") & ~is_flat).sum())
    masks, flat = np.flatnonzero(stored.column("is_mask")), np.flatnonzero(is_flat)
    doubts = []
    if len(masks) and options.masks is None and len(masks) <= coloured:
        doubts.append(
            Doubt(
                f"Two greys only, as masks have: {len(masks):,} of {len(stored):,} images, "
                f"{_names(stored, masks)}.",
                "Say what they are: --set prepare.masks=leave_out, or keep.",
                stops=len(masks) > options.max_bad * len(stored),
            )
        )
    if len(flat) and len(flat) <= coloured:
        doubts.append(
            Doubt(
                f"One colour and nothing else: {len(flat):,} of {len(stored):,} images, "
                f"{_names(stored, flat)}.",
                "Take them out if they are no products; if they were transparent, choose another "
                "prepare.background.",
            )
        )
    return doubts


def _names(stored: StoredSamples, rows: Sequence[int] | Ints) -> str:
    """The names of some rows."""
    return _some([stored[int(n)].name for n in rows[:NAMED]], len(rows))


def _some(names: list[str], count: int) -> str:
    """The first names of so many."""
    return ", ".join(names) + (", …" if count > NAMED else "")
