"""Checks shards sample by sample."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from unidiff_cli.data.row import Row
from unidiff_cli.data.rows import column_of
from unidiff_cli.data.shards import Shards, tars_of
from unidiff_cli.progress import Progress


class Damage(NamedTuple):
    """What is wrong with a shard; `sample` is the key of the sample that it hits, "" for none."""

    shard: str
    sample: str
    # Of the image that the sample should have, its sha256 in hex.
    content: str
    words: str


def verify(shards: Shards, on_progress: Progress | None = None) -> list[Damage]:
    """Reads every byte of every shard: whole shards by their sha256, others sample by sample."""
    rows = shards.rows()
    names = sorted({*column_of(rows, "shard"), *tars_of(shards.receipt)})
    damages: list[Damage] = []
    for done, name in enumerate(names, 1):
        damages += _of_shard(shards, name, rows.where("shard", name))
        if on_progress:
            on_progress("shards", done, len(names))
    return damages


def _of_shard(shards: Shards, name: str, rows: Sequence[Row]) -> Iterator[Damage]:
    record = shards.receipt.files.get(name)
    try:
        data = shards.tars.whole(name)
    except OSError as problem:
        reason = problem.strerror or str(problem)
        yield from (Damage(name, row.key, row.content, f"cannot be read: {reason}") for row in rows)
        return
    if record and (len(data), hashlib.sha256(data).hexdigest()) == (record.size, record.sha256):
        return
    hit = False
    for row in rows:
        members = (
            ("image", row.image_offset, row.image_size, row.image_crc),
            ("text", row.json_offset, row.json_size, row.json_crc),
        )
        for what, offset, size, crc in members:
            piece = data[offset : offset + size]
            if len(piece) < size:
                words = f"the shard ends before its {what} does"
            elif zlib.crc32(piece) != crc:
                words = f"its {what} is not what was written"
            else:
                continue
            hit = True
            yield Damage(name, row.key, row.content, words)
            break
    if not hit:
        words = "a header or the space between samples is not what was written"
        yield Damage(name, "", rows[0].content if rows else "", words)
