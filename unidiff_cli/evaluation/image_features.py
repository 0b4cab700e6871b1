"""Image features: what the extractor and the scorer make of real and generated images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from unidiff_cli.evaluation.array_cache import ArrayCache
from unidiff_cli.evaluation.extractors import Extractor, scorer

if TYPE_CHECKING:
    from unidiff_cli.data.shards import Row, Shards


class ImageFeatures(NamedTuple):
    """Of n images: `features` (n, d) by the extractor, unit `embeds` (n, D) by the scorer."""

    features: np.ndarray
    embeds: np.ndarray


def extract_features(
    images: Iterable[np.ndarray],
    depends: Any,
    arrays: ArrayCache,
    extractor: Extractor,
    batch_size: int,
) -> ImageFeatures:
    """Features of uint8 RGB images (H, W, 3), stored in `arrays` by what the images depend on.

    The images are read once, a batch at a time, and not at all if both arrays are stored.
    """
    judge = scorer()
    both = cache(partial(_extract, images, extractor, batch_size))
    return ImageFeatures(
        arrays.array("features", [depends, extractor.weights_hash], lambda: both().features),
        arrays.array("embeds", [depends, judge.weights_hash], lambda: both().embeds),
    )


def _extract(images: Iterable[np.ndarray], extractor: Extractor, batch_size: int) -> ImageFeatures:
    judge, rest = scorer(), iter(images)
    parts: list[ImageFeatures] = []
    while batch := list(islice(rest, batch_size)):
        features, embeds = judge.embed_images(batch)
        if extractor is not judge:
            features = extractor.features(batch)
        parts.append(ImageFeatures(features, embeds))
    return ImageFeatures(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def cropped_images(
    shards: Shards,
    rows: Sequence[Row],
    side: int,
    batch_size: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator[np.ndarray]:
    """The rows' images, uint8 (S, S, 3) each, cropped as a base of that side crops its own."""
    from unidiff_cli.data.batch import open_image
    from unidiff_cli.models.clip import pixels, square

    crop = square(side)
    for start in range(0, len(rows), batch_size):
        images = [open_image(shards, row) for row in rows[start : start + batch_size]]
        yield from pixels(crop, images).permute(0, 2, 3, 1).numpy()
        if on_progress:
            on_progress(min(start + batch_size, len(rows)), len(rows))
