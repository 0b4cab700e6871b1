"""Image features: what the extractors and the scorer make of real and generated images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from unidiff_cli.evaluation.array_cache import ArrayCache
from unidiff_cli.evaluation.extractors import Extractor

if TYPE_CHECKING:
    from unidiff_cli.data.buckets import Size
    from unidiff_cli.data.shards import Row, Shards
    from unidiff_cli.evaluation.extractors.nano_scorer import Scorer


class ImageFeatures(NamedTuple):
    """Of n images: `features` (n, d) by each extractor, unit `embeds` (n, D) by the scorer."""

    features: Mapping[str, np.ndarray]
    embeds: np.ndarray


def extract_features(
    images: Iterable[np.ndarray],
    depends: Any,
    arrays: ArrayCache,
    extractors: Mapping[str, Extractor],
    judge: Scorer,
    batch_size: int,
) -> ImageFeatures:
    """Features of uint8 RGB images (H, W, 3), stored in `arrays` by what the images depend on.

    The images are read once, a batch at a time, and not at all if every array is stored.
    """
    made = cache(partial(_extract, images, extractors, judge, batch_size))

    def by(name: str) -> np.ndarray:
        key = [depends, extractors[name].weights_hash]
        return arrays.array("features", key, lambda: made().features[name])

    return ImageFeatures(
        {name: by(name) for name in extractors},
        arrays.array("embeds", [depends, judge.weights_hash], lambda: made().embeds),
    )


def _extract(
    images: Iterable[np.ndarray],
    extractors: Mapping[str, Extractor],
    judge: Scorer,
    batch_size: int,
) -> ImageFeatures:
    rest = iter(images)
    embeds: list[np.ndarray] = []
    features: dict[str, list[np.ndarray]] = {name: [] for name in extractors}
    while batch := list(islice(rest, batch_size)):
        pooled, unit = judge.embed_images(batch)
        embeds.append(unit)
        for name, extractor in extractors.items():
            # One forward of the scorer gives both.
            features[name].append(pooled if extractor is judge else extractor.features(batch))
    return ImageFeatures(
        {name: np.concatenate(parts) for name, parts in features.items()}, np.concatenate(embeds)
    )


def cropped_images(
    shards: Shards,
    rows: Sequence[Row],
    size: Size,
    batch_size: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator[np.ndarray]:
    """The rows' images, uint8 (H, W, 3) each, cut to a size as a base cuts its own."""
    from unidiff_cli.data.batch import open_image
    from unidiff_cli.models.diffusion_images import covered

    for start in range(0, len(rows), batch_size):
        images = [open_image(shards, row) for row in rows[start : start + batch_size]]
        yield from covered(images, size).permute(0, 2, 3, 1).numpy()
        if on_progress:
            on_progress(min(start + batch_size, len(rows)), len(rows))
