"""What prepare did, in numbers for its receipt and as a page for a person."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from statistics import quantiles
from typing import Any

from unidiff_cli.config.schema import Prepare
from unidiff_cli.data import splits as splits_module
from unidiff_cli.data.decode import Decoded, Spool
from unidiff_cli.data.readers import Reader
from unidiff_cli.data.shards import Row
from unidiff_cli.project.receipt import Receipt
from unidiff_cli.reports import html as html_module

LONG = 50  # words; CLIP reads 77 tokens
CHANGES = ("rotated", "alpha", "resized", "profile", "reencoded")


def reason(text: str) -> str:
    """A reason without what differs from row to row, to be counted."""
    return text.split(":")[0] if text.startswith(("no caption", "damaged", "not JSON")) else text


def counts(
    reader: Reader, taken: Decoded, rows: list[Row], pairs: list[tuple[int, int]]
) -> dict[str, int]:
    splits = Counter(row.split for row in rows)
    torn = Counter(group for group, _ in {(row.group, row.split) for row in rows})
    changes = Counter(change for k in taken.kept for change in k.image.changes)
    return {
        "rows": len(rows) + len(taken.bad) + reader.filtered,
        "filtered": reader.filtered,
        "bad": len(taken.bad),
        "samples": len(rows),
        **{split: splits[split] for split in splits_module.SPLIT_NAMES},
        "groups": len({row.group for row in rows}),
        "groups_in_several_splits": sum(count > 1 for count in torn.values()),
        "duplicates": len(rows) - len({row.content for row in rows}),
        "near_duplicates": len(pairs),
        "captions_distinct": len({caption for row in rows for caption in row.captions}),
        **{change: changes[change] for change in CHANGES},
    }


def figures(reader: Reader, taken: Decoded, rows: list[Row], understood: str) -> dict[str, Any]:
    words = [len(caption.split()) for row in rows for caption in row.captions]
    cuts = quantiles(words, n=20, method="inclusive") if len(words) > 1 else words * 19
    largest = Counter(row.group for row in rows).most_common(1)[0]
    return {
        "understood": understood.splitlines(),
        "notes": dict(reader.notes.most_common()),
        "caption_words": {"median": cuts[9], "p95": cuts[18], "most": max(words)},
        "captions_over_50_words": round(sum(w > LONG for w in words) / len(words), 4),
        "largest_group": {"name": largest[0], "samples": largest[1]},
        "bad_reasons": dict(Counter(reason(b.reason) for b in taken.bad).most_common(12)),
    }


def report(
    path: Path,
    receipt: Receipt,
    taken: Decoded,
    rows: list[Row],
    pairs: list[tuple[int, int]],
    spool: Spool,
    options: Prepare,
) -> None:
    """The page a person looks at before training: what was understood, kept, changed, joined and refused."""
    chosen = sorted({n * len(rows) // 24 for n in range(24)})
    groups_in = Counter(split for _, split in {(row.group, row.split) for row in rows})

    def shows(n: int) -> dict[str, str]:
        image = html_module.thumbnail(spool.get(taken.kept[n]))
        return {
            "image": image,
            "caption": rows[n].captions[0],
            "row": rows[n].row,
            "split": rows[n].split,
        }

    html = html_module.render(
        "prepare.html.j2",
        receipt=receipt,
        options=options,
        splits=[
            (name, receipt.counts[name], groups_in[name]) for name in splits_module.SPLIT_NAMES
        ],
        words=html_module.bars(len(caption.split()) for row in rows for caption in row.captions),
        samples=[shows(n) for n in chosen],
        pairs=[(shows(a), shows(b)) for a, b in pairs[:6]],
        bad=taken.bad[:200],
    )
    path.write_text(html, encoding="utf-8", errors="backslashreplace")
