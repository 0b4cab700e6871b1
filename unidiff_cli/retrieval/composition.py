"""Queries of several parts: texts and images, each with a weight, wanted or unwanted.

The cosines of a text with a catalogue's images scatter less than those of an image, and lie lower.
A plain sum would be decided by the image. So each part's scores are standardised over the
catalogue: Σ wᵢ (qᵢ·x − qᵢ·μ) / σᵢ, where μ is the mean of all embeddings and σᵢ² = qᵢᵀ C qᵢ with
their covariance C. Up to a constant that is the product with one vector, Σ wᵢ qᵢ / σᵢ, so a query
of many parts costs as much as one of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import load_file, save_file

from unidiff_cli.errors import Damaged, UsageError
from unidiff_cli.system import first_line

FILE = "covariance.safetensors"
# Rows whose products are summed at a time.
BLOCK = 16_384


@dataclass(frozen=True)
class Part:
    """A text or an image of a query; a weight below 0 asks for what is unlike it.

    An image may stand there as its unit embedding (D,).
    """

    content: str | Image.Image | np.ndarray
    weight: float = 1.0


def covariance_of(embeddings: np.ndarray) -> np.ndarray:
    """The covariance (D, D) of embeddings (N, D), float32; a block of rows is in memory."""
    count, size = embeddings.shape
    total, products = np.zeros(size), np.zeros((size, size))
    for start in range(0, count, BLOCK):
        block = np.asarray(embeddings[start : start + BLOCK], np.float64)
        total += block.sum(axis=0)
        products += block.T @ block
    mean = total / max(count, 1)
    return (products / max(count, 1) - np.outer(mean, mean)).astype(np.float32)


def write_covariance(folder: Path, embeddings: np.ndarray) -> None:
    """Keeps the covariance of an index's embeddings beside them."""
    save_file({"covariance": covariance_of(embeddings)}, folder / FILE)


def read_covariance(folder: Path) -> np.ndarray:
    """The covariance (D, D) that `write_covariance` wrote. Raises Damaged for any other file."""
    try:
        return load_file(folder / FILE)["covariance"]
    # The library raises a class of its own on a header of another kind.
    except Exception as problem:
        raise Damaged(
            f"{folder / FILE} is not what was written: {first_line(problem)}.",
            "Run: unidiff index --force",
        ) from problem


def compose(embeddings: np.ndarray, weights: Sequence[float], covariance: np.ndarray) -> np.ndarray:
    """The unit query (D,) of parts' unit embeddings (P, D) with their weights.

    A single part is its own embedding. Raises UsageError where no weight is above 0.
    """
    if not any(weight > 0 for weight in weights):
        raise UsageError(
            "The query says only what is unwanted.",
            'Add what to look for: unidiff retrieve "dress"',
        )
    if len(embeddings) == 1:
        return embeddings[0]
    spread = np.einsum("pd,de,pe->p", embeddings, covariance, embeddings)
    # A catalogue of equal images scatters nowhere: then all parts are alike.
    deviations = (
        np.sqrt(np.maximum(spread, 1e-12)) if (spread > 1e-12).all() else np.ones(len(spread))
    )
    query = (np.asarray(weights) / deviations) @ embeddings
    return (query / max(float(np.linalg.norm(query)), 1e-12)).astype(np.float32)
