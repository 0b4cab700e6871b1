"""What prepare did: counts and figures for its receipt, and a page for a person."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from statistics import quantiles
from typing import Any

import numpy as np

from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data.attributes import as_figures, infer
from unidiff_cli.data.caption_length import CaptionTokens
from unidiff_cli.data.images import CHANGES
from unidiff_cli.data.kept_images import KeptImages
from unidiff_cli.data.readers import Reader
from unidiff_cli.data.shard_folder import NewRows
from unidiff_cli.data.spilled import Each
from unidiff_cli.data.splits import NAMES
from unidiff_cli.data.stored_samples import Decoded, StoredSample
from unidiff_cli.project.receipt import Receipt
from unidiff_cli.reports import html, plots

# Those that are no matter of size or format.
SHOWN = {
    "first_frame": "first image of several",
    "rotated": "rotated as EXIF says",
    "alpha": "transparency filled",
}
IN_THE_LIST = ", listed in quarantine.jsonl"
# Shown on the page.
MOST_SAMPLES, MOST_PAIRS, MOST_REJECTED, MOST_REASONS, MOST_PLACEHOLDERS = 24, 6, 200, 12, 6


@dataclass(frozen=True)
class Contents:
    """What goes into the shards: a row for each decoded sample, and the near-equal pairs.

    `placeholders` are left out: the first image of each and its rows. `notes` are counted words.
    `tokens` are None where no tokenizer was at hand.
    """

    rows: NewRows
    decoded: Decoded
    pairs: list[tuple[int, int]]
    placeholders: list[tuple[StoredSample, int]]
    notes: dict[str, int]
    tokens: CaptionTokens | None = None

    @cached_property
    def captions(self) -> Captions:
        return Captions.of(self.decoded.samples.captions())

    @cached_property
    def groups_in_splits(self) -> np.ndarray:
        """Each group and the number of a split that it has images in, (P, 2)."""
        count = len(NAMES)
        places = np.unique(self.rows.groups.numbers * count + self.rows.splits)
        return np.stack([places // count, places % count], axis=1)


@dataclass(frozen=True)
class Captions:
    """How many captions differ, and the words of each, (n,)."""

    distinct: int
    words: np.ndarray

    @classmethod
    def of(cls, captions: Iterable[Iterable[str]]) -> Captions:
        """Counts captions. They are told apart by 64 bits, which no two are likely to share."""
        words, marks = array("l"), array("q")
        for caption in chain.from_iterable(captions):
            words.append(len(caption.split()))
            marks.append(hash(caption))
        return cls(len(np.unique(marks)), np.array(words))


def counts(reader: Reader, contents: Contents) -> dict[str, int]:
    """The counts of prepare's receipt."""
    rows, decoded = contents.rows, contents.decoded
    splits = np.bincount(rows.splits, minlength=len(NAMES)).tolist()
    splits_of = np.bincount(contents.groups_in_splits[:, 0])
    changes = decoded.samples.column("changes")
    rules = sum(item.reason.is_rule for item in decoded.rejected)
    return {
        "rows": len(rows) + len(decoded.rejected) + reader.filtered,
        "filtered": reader.filtered,
        "bad": len(decoded.rejected) - rules,
        "left_out": rules,
        "samples": len(rows),
        **dict(zip(NAMES, splits, strict=True)),
        "groups": len(splits_of),
        "groups_in_several_splits": int((splits_of > 1).sum()),
        "duplicates": len(rows) - len(np.unique(decoded.samples.column("content"))),
        "near_duplicates": len(contents.pairs),
        "captions": len(contents.captions.words),
        "captions_distinct": contents.captions.distinct,
        **{name: int((changes >> bit & 1).sum()) for bit, name in enumerate(CHANGES)},
    }


def figures(
    reader: Reader, contents: Contents, description: list[str], warnings: list[str]
) -> dict[str, Any]:
    """The figures of prepare's receipt."""
    samples, rejected = contents.decoded.samples, contents.decoded.rejected
    words = contents.captions.words.tolist()
    cuts = quantiles(words, n=20, method="inclusive") if len(words) > 1 else words * 19
    mapped = {NAMES[n] if n >= 0 else None for n in np.unique(samples.column("split")).tolist()}
    groups = contents.rows.groups
    sizes = np.bincount(groups.numbers)
    # Of equal ones the first.
    largest = int(groups.numbers[np.argmax(sizes[groups.numbers])])
    reasons = Counter(item.reason.counted_as for item in rejected if not item.reason.is_rule)
    rules = Counter(item.reason.counted_as for item in rejected if item.reason.is_rule)
    return {
        "understood": description,
        "decisions": reader.decisions(),
        "warnings": warnings,
        "splits_by_share": _taken_from_train(mapped, reader.options.splits),
        "attributes": as_figures(infer(Each(samples, lambda item: item.sample.attributes))),
        "notes": dict(reader.notes.most_common()) | contents.notes,
        "caption_words": {"median": cuts[9], "p95": cuts[18], "most": max(words)},
        "caption_tokens": contents.tokens.plain() if contents.tokens else None,
        "largest_group": {"name": groups.name(largest), "samples": int(sizes[largest])},
        "bad_reasons": dict(reasons.most_common(MOST_REASONS)),
        "left_out_reasons": dict(rules.most_common()),
    }


def _taken_from_train(mapped: set[str | None], shares: tuple[float, float, float]) -> list[str]:
    """The splits that a catalogue never names, although it names others."""
    if mapped == {None} or not mapped & {None, "train"}:
        return []
    return [
        name
        for name, share in zip(NAMES[1:], shares[1:], strict=True)
        if name not in mapped and share
    ]


def table(receipt: Receipt) -> list[tuple[str, str]]:
    """What went in and what came out, each a label and a few words, for a person."""
    count, figure = receipt.counts, receipt.figures
    reasons, rules = (
        [(f"  {reason}", f"{n:,}") for reason, n in figure[name].items()]
        for name in ("bad_reasons", "left_out_reasons")
    )
    others = count["bad"] - sum(figure["bad_reasons"].values())
    splits = ", ".join(f"{count[name]:,} {name}" for name in NAMES)
    captions = f"{count['captions']:,}, {count['captions_distinct']:,} of them distinct"
    words = figure["caption_words"]
    lines = [
        ("rows in", f"{count['rows']:,}"),
        ("left out by prepare.where", f"{count['filtered']:,}" if count["filtered"] else ""),
        ("bad rows", f"{count['bad']:,}{IN_THE_LIST if count['bad'] else ''}"),
        *reasons,
        ("  for other reasons", f"{others:,}" if others else ""),
        ("left out by rules", f"{count['left_out']:,}{IN_THE_LIST}" if count["left_out"] else ""),
        *rules,
        ("images out", f"{count['samples']:,}"),
        ("splits", splits),
        ("taken from train by share", ", ".join(figure["splits_by_share"])),
        ("groups", f"{count['groups']:,}"),
        ("equal images", f"{count['duplicates']:,}"),
        ("near-equal pairs", f"{count['near_duplicates']:,}"),
        *((label, f"{count[name]:,}" if count[name] else "") for name, label in SHOWN.items()),
        ("captions", captions),
        ("words in a caption", f"half at most {words['median']:g}, the longest {words['most']:,}"),
        *_token_lines(figure["caption_tokens"]),
        *figure["decisions"].items(),
        *((note, f"{n:,}") for note, n in figure["notes"].items()),
    ]
    return [(label, text) for label, text in lines if text]


def _token_lines(tokens: dict[str, Any] | None) -> list[tuple[str, str]]:
    """The lines about the captions' tokens, by the tokenizer that counted them."""
    if tokens is None:
        return [("tokens in a caption", "not counted: the base's tokenizer is not at hand")]
    limit, cut, captions = tokens["limit"], tokens["cut"], tokens["captions"]
    length = f"half at most {tokens['median']:g}, the longest {tokens['most']:,}"
    lost = tokens["distinct"] - tokens["distinct_read"]
    return [
        ("tokens in a caption", f"{length}; {tokens['base']} reads {limit}"),
        ("captions cut", f"{cut:,} ({cut / captions:.1%})" if cut else "none"),
        ("captions equal after the cut", f"{lost:,}" if lost > 0 and cut else ""),
        ("tokens of unknown letters", f"{tokens['unknown']:.1%}" if tokens["unknown"] else ""),
    ]


def write_page(
    path: Path, receipt: Receipt, contents: Contents, kept: KeptImages, options: Prepare
) -> None:
    """Writes the page that a person looks at before training.

    It shows how the catalogue was read, and what was stored, changed, joined and refused.
    """
    rows, decoded = contents.rows, contents.decoded
    chosen = sorted({n * len(rows) // MOST_SAMPLES for n in range(MOST_SAMPLES)})
    groups = np.bincount(contents.groups_in_splits[:, 1], minlength=len(NAMES)).tolist()

    placeholders = [
        {
            "image": html.thumbnail(item.read(kept)),
            "rows": count,
            "name": item.name,
        }
        for item, count in contents.placeholders[:MOST_PLACEHOLDERS]
    ]

    def figure(n: int) -> dict[str, str]:
        item = decoded.samples[n]
        row = rows.row(n, item)
        image = html.thumbnail(item.read(kept))
        return {"image": image, "caption": row.captions[0], "row": row.row, "split": row.split}

    page = html.render(
        "prepare.html.j2",
        receipt=receipt,
        table=table(receipt),
        options=options,
        splits=[(name, receipt.counts[name], n) for name, n in zip(NAMES, groups, strict=True)],
        words=plots.histogram(
            contents.captions.words.tolist(), x="words in a caption", y="captions"
        ),
        samples=[figure(n) for n in chosen],
        pairs=[(figure(a), figure(b)) for a, b in contents.pairs[:MOST_PAIRS]],
        placeholders=placeholders,
        rejected=list(decoded.rejected[:MOST_REJECTED]),
    )
    path.write_text(page, encoding="utf-8", errors="backslashreplace")
