"""A catalogue decoded once: every image prepared and stored, every other row with its reason."""

from __future__ import annotations

import json
from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unidiff_cli import signals
from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data.executors import Engine, Executor, ProcessExecutor
from unidiff_cli.data.image_files import ImageBounds, is_light
from unidiff_cli.data.images import PreparedImage, prepare_image, rgb_image
from unidiff_cli.data.kept_images import KeptImages
from unidiff_cli.data.locations import Location
from unidiff_cli.data.parts import Part
from unidiff_cli.data.readers import Reader
from unidiff_cli.data.remote import gathered
from unidiff_cli.data.sample import Extent, Reason, Rejected, Sample
from unidiff_cli.data.stored_samples import STORED, Decoded, StoredSample
from unidiff_cli.progress import Progress

CRASHED: Any = Reason(
    "it ends the process that decodes it: it crashes the decoder, or takes more time than "
    "prepare.limits.image_seconds"
)
# Images between two reports of progress.
EVERY = 50


def executor_of(options: Prepare, engine: Engine = "local", address: str = "") -> Executor:
    """What decodes images within the limits of a recipe: this machine, or a Ray cluster.

    Raises EnvironmentProblem where there is no such cluster.
    """
    limits = options.limits
    seconds, memory = limits.image_seconds, limits.image_memory << 20
    if engine == "ray":
        # Imported here: Ray takes seconds, and most people have none.
        from unidiff_cli.data.ray_executor import RayExecutor

        return RayExecutor(address, seconds, memory, gathered)
    return ProcessExecutor(options.workers, seconds, memory, is_light, gathered)


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
    kept: KeptImages,
    extent: Extent,
    progress: Progress,
    part: Part | None = None,
) -> Decoded:
    """Decodes every image once: the good ones are kept, the others go to the rejected rows.

    An image that is kept already is not decoded. With a part all other rows are passed over.
    """
    decoded = Decoded.empty(kept.folder)
    samples, rejected = decoded.samples, decoded.rejected
    # By row number, so that the lists do not depend on who was fast.
    sample_numbers, rejected_numbers = array("q"), array("q")
    waiting: deque[tuple[int, Sample, str, bytes | None]] = deque()

    def sources() -> Iterator[Location]:
        for number, item in enumerate(reader):
            if part and not part.holds(number):
                continue
            if isinstance(item, Rejected):
                rejected.append(item)
                rejected_numbers.append(number)
                continue
            path = item.image.relative_to(reader.root)
            key, sample = kept.key(item.image), replace(item, image=STORED)
            if found := kept.find(key):
                samples.append(StoredSample(sample, path, *found))
                sample_numbers.append(number)
                tell()
            else:
                waiting.append((number, sample, path, key))
                yield item.image

    total = -(-(extent.rows or 0) // (part.of if part else 1))

    def tell() -> None:
        done = len(samples) + len(rejected)
        if done % EVERY == 0:
            signals.check()
            progress("images", done, max(total, done) if total else 0)

    work = partial(
        prepare_image,
        max_side=options.max_side,
        bounds=bounds_of(options),
        background=options.background,
    )
    for image in executor.map(work, sources(), CRASHED):
        # Before the image counts: whatever swallowed the signal may have spoilt it.
        signals.check()
        number, sample, path, key = waiting.popleft()
        if isinstance(image, Reason):
            rejected.append(Rejected(sample.row, image, path))
            rejected_numbers.append(number)
        else:
            place = kept.put(key, image)
            samples.append(StoredSample(sample, path, replace(image, data=b""), place))
            sample_numbers.append(number)
        tell()
    rows = len(samples) + len(rejected)
    progress("images", rows, rows)
    return Decoded(
        samples.take(np.argsort(sample_numbers)), rejected.take(np.argsort(rejected_numbers))
    )


def kept_by(options: Prepare) -> str:
    """The options that decide what becomes of an image."""
    return repr((options.max_side, bounds_of(options), options.background))


def write_quarantine(path: Path, rejected: Iterable[Rejected]) -> None:
    """Writes the rejected rows as JSON lines."""
    with open(path, "w", encoding="utf-8") as stream:
        for item in rejected:
            line = {"row": item.row, "path": item.path, "reason": item.reason.text}
            stream.write(json.dumps(line) + "\n")
