"""What prepare did: counts and figures for its receipt, and a page for a person."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any

from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data.attributes import as_figures, infer
from unidiff_cli.data.caption_length import CaptionTokens
from unidiff_cli.data.decode import Decoded, StoredSample
from unidiff_cli.data.kept_images import KeptImages
from unidiff_cli.data.readers import Reader
from unidiff_cli.data.shards import Row
from unidiff_cli.data.splits import NAMES
from unidiff_cli.project.receipt import Receipt
from unidiff_cli.reports import html, plots

CHANGES = ("first_frame", "rotated", "alpha", "resized", "profile", "reencoded")
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

    rows: list[Row]
    decoded: Decoded
    pairs: list[tuple[int, int]]
    placeholders: list[tuple[StoredSample, int]]
    notes: dict[str, int]
    tokens: CaptionTokens | None = None


def counts(reader: Reader, contents: Contents) -> dict[str, int]:
    """The counts of prepare's receipt."""
    rows, decoded = contents.rows, contents.decoded
    splits = Counter(row.split for row in rows)
    splits_of = Counter(group for group, _ in {(row.group, row.split) for row in rows})
    changes = Counter(change for stored in decoded.samples for change in stored.image.changes)
    return {
        "rows": len(rows) + len(decoded.rejected) + reader.filtered,
        "filtered": reader.filtered,
        "bad": sum(not item.reason.is_rule for item in decoded.rejected),
        "left_out": sum(item.reason.is_rule for item in decoded.rejected),
        "samples": len(rows),
        **{name: splits[name] for name in NAMES},
        "groups": len({row.group for row in rows}),
        "groups_in_several_splits": sum(count > 1 for count in splits_of.values()),
        "duplicates": len(rows) - len({row.content for row in rows}),
        "near_duplicates": len(contents.pairs),
        "captions": sum(len(row.captions) for row in rows),
        "captions_distinct": len({caption for row in rows for caption in row.captions}),
        **{change: changes[change] for change in CHANGES},
    }


def figures(
    reader: Reader, contents: Contents, description: list[str], warnings: list[str]
) -> dict[str, Any]:
    """The figures of prepare's receipt."""
    rows, rejected = contents.rows, contents.decoded.rejected
    words = [len(caption.split()) for row in rows for caption in row.captions]
    cuts = quantiles(words, n=20, method="inclusive") if len(words) > 1 else words * 19
    mapped = {stored.sample.split for stored in contents.decoded.samples}
    name, samples = Counter(row.group for row in rows).most_common(1)[0]
    reasons = Counter(item.reason.counted_as for item in rejected if not item.reason.is_rule)
    rules = Counter(item.reason.counted_as for item in rejected if item.reason.is_rule)
    return {
        "understood": description,
        "decisions": reader.decisions(),
        "warnings": warnings,
        "splits_by_share": _taken_from_train(mapped, reader.options.splits),
        "attributes": as_figures(infer([row.attributes for row in rows])),
        "notes": dict(reader.notes.most_common()) | contents.notes,
        "caption_words": {"median": cuts[9], "p95": cuts[18], "most": max(words)},
        "caption_tokens": contents.tokens.plain() if contents.tokens else None,
        "largest_group": {"name": name, "samples": samples},
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
    groups = Counter(split for _, split in {(row.group, row.split) for row in rows})

    placeholders = [
        {
            "image": html.thumbnail(item.read(kept)),
            "rows": count,
            "name": item.path or item.sample.row,
        }
        for item, count in contents.placeholders[:MOST_PLACEHOLDERS]
    ]

    def figure(n: int) -> dict[str, str]:
        row = rows[n]
        image = html.thumbnail(decoded.samples[n].read(kept))
        return {"image": image, "caption": row.captions[0], "row": row.row, "split": row.split}

    words = [len(caption.split()) for row in rows for caption in row.captions]
    page = html.render(
        "prepare.html.j2",
        receipt=receipt,
        table=table(receipt),
        options=options,
        splits=[(name, receipt.counts[name], groups[name]) for name in NAMES],
        words=plots.histogram(words, x="words in a caption", y="captions"),
        samples=[figure(n) for n in chosen],
        pairs=[(figure(a), figure(b)) for a, b in contents.pairs[:MOST_PAIRS]],
        placeholders=placeholders,
        rejected=decoded.rejected[:MOST_REJECTED],
    )
    path.write_text(page, encoding="utf-8", errors="backslashreplace")
