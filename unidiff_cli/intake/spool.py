"""A catalogue taken in: every picture decoded once and put on disk, every other row noted with its reason."""

from __future__ import annotations

import json
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from ..readers import Bad, Extent, Reader, Sample, shown
from ..recipe import Prepare
from . import workers
from .pictures import Picture

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Kept:
    """A sample whose picture is in the spool."""

    sample: Sample
    picture: Picture  # without its bytes
    place: int  # in the spool
    size: int


@dataclass
class Taken:
    kept: list[Kept]
    bad: list[Bad]


class Spool:
    """Ready pictures on disk between the two passes, so that memory does not grow with the catalogue."""

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

    def get(self, kept: Kept) -> bytes:
        self._stream.seek(kept.place)
        return self._stream.read(kept.size)


def take(reader: Reader, options: Prepare, spool: Spool, extent: Extent, progress: Progress) -> Taken:
    """Decodes every picture once; the good ones go to the spool, the others to the quarantine list."""
    kept: list[Kept] = []
    bad: dict[int, Bad] = {}  # by row number, so that the list does not depend on who was fast
    waiting: deque[tuple[int, Sample]] = deque()

    def sources() -> Iterator[Path | bytes]:
        for number, item in enumerate(reader):
            if isinstance(item, Bad):
                bad[number] = item
            else:
                source = item.image
                waiting.append((number, item if isinstance(source, Path) else replace(item, image=b"")))
                yield source

    results = workers.each(sources(), options.max_side, options.max_pixels, options.workers)
    for done, picture in enumerate(results, 1):
        number, sample = waiting.popleft()
        if isinstance(picture, str):
            bad[number] = Bad(sample.row, picture, source_path(sample, reader))
        else:
            place = spool.put(picture.data)
            kept.append(Kept(sample, replace(picture, data=b""), place, len(picture.data)))
        if done % 50 == 0:
            progress("pictures", done, max(extent.rows or 0, done) if extent.rows else 0)
    progress("pictures", len(kept) + len(bad), len(kept) + len(bad))
    return Taken(kept, [bad[number] for number in sorted(bad)])


def source_path(sample: Sample, reader: Reader) -> str:
    return shown(os.path.relpath(sample.image, reader.root)) if isinstance(sample.image, Path) else ""


def quarantine(path: Path, bad: Iterable[Bad]) -> None:
    with open(path, "w", encoding="utf-8") as stream:
        for item in bad:
            stream.write(json.dumps({"row": item.row, "path": item.path, "reason": item.reason}) + "\n")
