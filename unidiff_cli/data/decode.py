"""A catalogue taken in: every image decoded once and put on disk, every other row noted with its reason."""

from __future__ import annotations

import json
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from unidiff_cli.config.schema import Prepare
from unidiff_cli.data import executors
from unidiff_cli.data.images import PreparedImage
from unidiff_cli.data.readers import Reader, shown
from unidiff_cli.data.sample import Extent, Rejected, Sample

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class StoredSample:
    """A sample whose image is in the spool."""

    sample: Sample
    image: PreparedImage  # without its bytes
    place: int  # in the spool
    size: int


@dataclass
class Decoded:
    kept: list[StoredSample]
    bad: list[Rejected]


class Spool:
    """Ready images on disk between the two passes, so that memory does not grow with the catalogue."""

    def __init__(self, folder: Path) -> None:
        self._stream: IO[bytes] = tempfile.TemporaryFile(dir=folder)

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def put(self, data: bytes) -> int:
        place = self._stream.seek(0, os.SEEK_END)
        self._stream.write(data)
        return place

    def get(self, kept: StoredSample) -> bytes:
        self._stream.seek(kept.place)
        return self._stream.read(kept.size)


def decode_catalogue(
    reader: Reader, options: Prepare, spool: Spool, extent: Extent, progress: Progress
) -> Decoded:
    """Decodes every image once; the good ones go to the spool, the others to the quarantine list."""
    kept: list[StoredSample] = []
    bad: dict[int, Rejected] = {}  # by row number, so that the list does not depend on who was fast
    waiting: deque[tuple[int, Sample]] = deque()

    def sources() -> Iterator[Path | bytes]:
        for number, item in enumerate(reader):
            if isinstance(item, Rejected):
                bad[number] = item
            else:
                source = item.image
                waiting.append(
                    (number, item if isinstance(source, Path) else replace(item, image=b""))
                )
                yield source

    results = executors.each(sources(), options.max_side, options.max_pixels, options.workers)
    for done, image in enumerate(results, 1):
        number, sample = waiting.popleft()
        if isinstance(image, str):
            bad[number] = Rejected(sample.row, image, source_path(sample, reader))
        else:
            place = spool.put(image.data)
            kept.append(StoredSample(sample, replace(image, data=b""), place, len(image.data)))
        if done % 50 == 0:
            progress("images", done, max(extent.rows or 0, done) if extent.rows else 0)
    progress("images", len(kept) + len(bad), len(kept) + len(bad))
    return Decoded(kept, [bad[number] for number in sorted(bad)])


def source_path(sample: Sample, reader: Reader) -> str:
    return (
        shown(os.path.relpath(sample.image, reader.root)) if isinstance(sample.image, Path) else ""
    )


def quarantine(path: Path, bad: Iterable[Rejected]) -> None:
    with open(path, "w", encoding="utf-8") as stream:
        for item in bad:
            stream.write(
                json.dumps({"row": item.row, "path": item.path, "reason": item.reason}) + "\n"
            )
