"""Shards as units of work: each is a pure function of its samples, so none is written twice.

A shard whose samples did not change is the file that is there already, under a second name. One
that a killed prepare wrote is found in the cache by the digest of its samples.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from unidiff_cli.data.row import Row
from unidiff_cli.data.shard_writer import write_shard
from unidiff_cli.data.shards import Shards
from unidiff_cli.project.files import (
    atomic_file,
    delete_unfinished_files,
    link,
    make_folder,
    write_text,
)

# What the index knows of a sample by where it was written.
PLACES = ("image_offset", "image_size", "image_crc", "json_offset", "json_size", "json_crc")
TAR, RECORD = ".tar", ".json"


class ShardUnits:
    """Writes shards through a folder of the cache, and takes over those of earlier ones."""

    def __init__(
        self, cache: Path, earlier: Shards | None = None, damaged: Iterable[str] = ()
    ) -> None:
        """Shards of `earlier` that hold an image of `damaged`, by its sha256, are not taken."""
        self.cache, self._earlier = cache, earlier
        self._damaged = frozenset(damaged)
        self.taken = 0

    def place(
        self, file: Path, rows: Sequence[Row], image_of: Callable[[Row], bytes]
    ) -> tuple[list[Row], str]:
        """Puts the shard of rows at a path.

        Returns the rows as they lie in it, and the tar's sha256 in hex. Raises Damaged where an
        image cannot be had, and OSError on a full disk.
        """
        name = digest_of(rows)
        if found := self._taken_over(file, rows, name):
            self.taken += 1
            return found
        tar, record = self.cache / f"{name}{TAR}", self.cache / f"{name}{RECORD}"
        if not (tar.is_file() and record.is_file()):
            make_folder(self.cache)
            with atomic_file(tar) as beside:
                samples = ((row, image_of(row)) for row in rows)
                written, sha256 = write_shard(beside, file.name, samples)
            places = [[getattr(row, field) for field in PLACES] for row in written]
            write_text(record, json.dumps({"sha256": sha256, "places": places}))
        stored = json.loads(record.read_bytes())
        link(tar, file)
        placed = [
            replace(row, shard=file.name, **dict(zip(PLACES, place, strict=True)))
            for row, place in zip(rows, stored["places"], strict=True)
        ]
        return placed, stored["sha256"]

    def _taken_over(
        self, file: Path, rows: Sequence[Row], name: str
    ) -> tuple[list[Row], str] | None:
        """The same shard of the earlier ones, linked; None where it is another or not whole."""
        if self._earlier is None:
            return None
        before = self._earlier.rows().where("shard", file.name)
        if digest_of(before) != name:
            return None
        record = self._earlier.receipt.files.get(file.name)
        tar = self._earlier.folder / file.name
        if record is None or not tar.is_file() or tar.stat().st_size != record.size:
            return None
        if not self._damaged.isdisjoint(row.content for row in before):
            return None
        link(tar, file)
        placed = [
            replace(row, shard=file.name, **{field: getattr(old, field) for field in PLACES})
            for row, old in zip(rows, before, strict=True)
        ]
        return placed, record.sha256

    def release(self) -> None:
        """Deletes what the cache holds: all of it lies in finished shards."""
        delete_unfinished_files(self.cache)
        for ending in (TAR, RECORD):
            for file in self.cache.glob(f"*{ending}"):
                file.unlink(missing_ok=True)
        with suppress(OSError):
            self.cache.rmdir()


def digest_of(rows: Iterable[Row]) -> str:
    """What decides every byte of the shard of some rows, in their order."""
    digest = hashlib.sha256()
    for row in rows:
        for part in (row.key.encode(), row.content.encode(), row.json()):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:32]
