"""A catalogue decoded once: every image prepared and stored, every other row with its reason."""

from __future__ import annotations

import json
import os
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Any

from PIL import Image

from unidiff_cli import signals
from unidiff_cli.config.schema import Prepare
from unidiff_cli.data.executors import Executor, ProcessExecutor
from unidiff_cli.data.image_files import ImageBounds, is_light
from unidiff_cli.data.images import PreparedImage, prepare_image, rgb_image
from unidiff_cli.data.locations import InMemory, Location
from unidiff_cli.data.readers import Reader
from unidiff_cli.data.remote import gathered
from unidiff_cli.data.sample import Extent, Reason, Rejected, Sample
from unidiff_cli.progress import Progress

CRASHED: Any = Reason(
    "it ends the process that decodes it: it crashes the decoder, or takes more time than "
    "prepare.limits.image_seconds"
)
# What stands in a sample for an image that lies in the store.
STORED = InMemory("", b"")
# Bytes of the store that are written at a time.
BUFFER = 1 << 20
# Images between two reports of progress.
EVERY = 50


@dataclass(frozen=True)
class StoredSample:
    """A sample whose image lies in the temporary store, `size` bytes from `offset`.

    `sample.image` and `image.data` are empty. `path` is the image's path relative to the
    catalogue, "" where it came out of a tar or a table.
    """

    sample: Sample
    path: str
    image: PreparedImage
    offset: int
    size: int


@dataclass
class Decoded:
    """All rows of a catalogue: the samples, and the rows that give none, each in its order.

    Rows that are left out after decoding stand behind the other rejected ones.
    """

    samples: list[StoredSample]
    rejected: list[Rejected]


class TemporaryStore:
    """Prepared images on disk between two passes, so that memory does not hold the catalogue."""

    def __init__(self, folder: Path) -> None:
        self._stream: IO[bytes] = tempfile.TemporaryFile("w+b", BUFFER, dir=folder)
        self._size = 0

    def __enter__(self) -> TemporaryStore:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def put(self, data: bytes) -> int:
        """Adds bytes and returns their offset."""
        offset = self._size
        self._stream.write(data)
        self._size += len(data)
        return offset

    def get(self, stored: StoredSample) -> bytes:
        """The bytes of a sample's image."""
        self._stream.flush()
        return os.pread(self._stream.fileno(), stored.size, stored.offset)


def executor_of(options: Prepare) -> ProcessExecutor:
    """What decodes images within the limits of a recipe."""
    limits = options.limits
    return ProcessExecutor(
        options.workers, limits.image_seconds, limits.image_memory << 20, is_light, gathered
    )


def bounds_of(options: Prepare) -> ImageBounds:
    """What an image may have at most, by the limits of a recipe."""
    limits = options.limits
    return ImageBounds(
        options.max_pixels,
        limits.image_bytes,
        limits.image_scans,
        options.min_side,
        options.max_aspect,
    )


def any_size(options: Prepare) -> ImageBounds:
    """The same for images that are no products of a catalogue: they may be small or long."""
    return bounds_of(options)._replace(side=0, aspect=0)


def decode_query(source: Location) -> PreparedImage | Reason:
    """One image, prepared as a catalogue's by the defaults of a recipe."""
    options = Prepare(workers=1)
    work = partial(prepare_image, max_side=options.max_side, bounds=any_size(options))
    (image,) = executor_of(options).map(work, [source], CRASHED)
    return image


def decode_pixels(sources: Iterable[Location]) -> Iterator[Image.Image | Reason]:
    """Images as RGB, nothing else changed, within the default limits of a recipe."""
    options = Prepare()
    work = partial(rgb_image, bounds=any_size(options))
    return executor_of(options).map(work, sources, CRASHED)


def decode_catalogue(
    reader: Reader,
    options: Prepare,
    executor: Executor,
    store: TemporaryStore,
    extent: Extent,
    progress: Progress,
) -> Decoded:
    """Decodes every image once: the good ones go to the store, the others to the rejected rows."""
    samples: list[StoredSample] = []
    # By row number, so that the list does not depend on who was fast.
    rejected: dict[int, Rejected] = {}
    waiting: deque[tuple[int, Sample, str]] = deque()

    def sources() -> Iterator[Location]:
        for number, item in enumerate(reader):
            if isinstance(item, Rejected):
                rejected[number] = item
            else:
                path = item.image.relative_to(reader.root)
                waiting.append((number, replace(item, image=STORED), path))
                yield item.image

    work = partial(
        prepare_image,
        max_side=options.max_side,
        bounds=bounds_of(options),
        background=options.background,
    )
    for done, image in enumerate(executor.map(work, sources(), CRASHED), 1):
        # Before the image counts: whatever swallowed the signal may have spoilt it.
        signals.check()
        number, sample, path = waiting.popleft()
        if isinstance(image, Reason):
            rejected[number] = Rejected(sample.row, image, path)
        else:
            offset, size = store.put(image.data), len(image.data)
            samples.append(StoredSample(sample, path, replace(image, data=b""), offset, size))
        if done % EVERY == 0:
            progress("images", done, max(extent.rows, done) if extent.rows else 0)
    rows = len(samples) + len(rejected)
    progress("images", rows, rows)
    return Decoded(samples, [rejected[number] for number in sorted(rejected)])


def write_quarantine(path: Path, rejected: Iterable[Rejected]) -> None:
    """Writes the rejected rows as JSON lines."""
    with open(path, "w", encoding="utf-8") as stream:
        for item in rejected:
            line = {"row": item.row, "path": item.path, "reason": item.reason.text}
            stream.write(json.dumps(line) + "\n")
