"""Extractors: frozen networks that turn images into features for the metrics.

In: images, PIL or uint8 arrays. Out: features (N, d). None of them is ever trained here.
To add one, write a file with a class that has the members of `Extractor`, and choose it in
`_load`; its name stands in `ExtractorName` of the recipe.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from unidiff_cli import machine
from unidiff_cli.config.schema import Evaluate
from unidiff_cli.config.values import ExtractorName

if TYPE_CHECKING:
    from PIL.Image import Image

    from unidiff_cli.evaluation.extractors.nano_scorer import Scorer


class Extractor(Protocol):
    """What FID, KID and precision and recall take their features from.

    `caution` is what a note adds to the name, or "". `image_size` is the side in px that the
    network sees, `feature_size` is d, `weights_hash` changes with the weights.
    """

    name: str
    caution: str
    image_size: int
    feature_size: int
    weights_hash: str

    def features(self, images: Iterable[Image | np.ndarray]) -> np.ndarray:
        """Features (N, d), float32, of RGB images of any size, in their order."""
        ...


def load_extractors(evaluate: Evaluate, cache: Path | None = None) -> dict[str, Extractor]:
    """The extractors that a recipe names, in its order; weights that are read once go to `cache`.

    Raises UsageError, EnvironmentProblem.
    """
    return {name: _load(name, evaluate.inception, cache) for name in evaluate.extractors}


def _load(name: ExtractorName, inception: str, cache: Path | None) -> Extractor:
    if name == "nano_scorer":
        return scorer()
    return _inception(inception) if name == "inception" else _efficientnet(cache)


@cache
def _inception(file: str) -> Extractor:
    from unidiff_cli.evaluation.extractors.inception import Inception

    return Inception.read(Path(file))


@cache
def _efficientnet(folder: Path | None) -> Extractor:
    from unidiff_cli.evaluation.extractors.efficientnet_lite0 import EfficientNetLite0

    return EfficientNetLite0.read(folder)


def scorer(source: str = "") -> Scorer:
    """The frozen CLIP that judges captions, loaded once: a folder or hub id, or the embedded one.

    Raises EnvironmentProblem.
    """
    return load_scorer(source)


@cache
def load_scorer(source: str) -> Scorer:
    """What `scorer` gives. Its cache has one key for a source that is left out and an empty one."""
    from unidiff_cli.evaluation.extractors import nano_scorer

    judge = nano_scorer.Scorer.read(source or nano_scorer.FOLDER).to(machine.device())
    if source:
        judge.name = Path(source).name if Path(source).is_dir() else source
    return judge
