"""What a vision tower sees without words: whether an image's nearest other is of its class."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from pretraining.measures.inputs import Photos
from pretraining.measures.targets import Figures


class Seeing(Protocol):
    """A CLIP's image tower, or another network that was trained on images."""

    def features(self, pixels: np.ndarray, /) -> np.ndarray:
        """Pooled features (N, d) of uint8 images (N, S, S, 3)."""
        ...


def neighbours(network: Seeing, sets: Mapping[str, Photos]) -> Figures:
    """The share of test photos whose nearest other one, by pooled features, is of their class."""
    return {
        f"{name}_neighbours": same_class(
            network.features(sets[name].pixels), [row["class"] for row in sets[name].rows]
        )
        for name in ("photos", "grocery")
        if name in sets
    }


def same_class(features: np.ndarray, classes: list[str]) -> float:
    """Leave-one-out accuracy of the nearest neighbour by cosine; features are (N, d)."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    scores = unit @ unit.T
    np.fill_diagonal(scores, -np.inf)
    named = np.array(classes)
    return float((named[scores.argmax(1)] == named).mean())
