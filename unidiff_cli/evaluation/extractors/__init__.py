"""Extractors: frozen networks that turn images into features for the metrics.

In: images, PIL or uint8 arrays. Out: features (N, d). None of them is ever trained here.
To add one, write a file with a class that has the members of `Extractor`, and choose it in
`load_extractor`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from unidiff_cli import machine
from unidiff_cli.config.schema import Evaluate

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


def load_extractor(evaluate: Evaluate) -> Extractor:
    """Inception if `evaluate.inception` names its file, else the scorer.

    Raises UsageError, EnvironmentProblem.
    """
    if not evaluate.inception:
        return scorer()
    from unidiff_cli.evaluation.extractors.inception import Inception

    return Inception.read(Path(evaluate.inception))


@cache
def scorer() -> Scorer:
    """The frozen CLIP that comes with unidiff, loaded once. Raises EnvironmentProblem."""
    from unidiff_cli.evaluation.extractors import nano_scorer

    return nano_scorer.Scorer.read(nano_scorer.FOLDER).to(machine.device())
