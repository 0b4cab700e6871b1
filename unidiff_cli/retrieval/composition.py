"""Queries of several parts: texts and images, each with a weight, wanted or unwanted.

A query of many parts is one vector, the mean of their unit embeddings by weight, so it costs as
much as a query of one. Why not each part over its deviation:
docs/decisions/2026-11-27-queries-of-several-parts.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from unidiff_cli.errors import UsageError
from unidiff_cli.models.encoders import ImageEncoder


@dataclass(frozen=True)
class Part:
    """A text or an image of a query; a weight below 0 asks for what is unlike it.

    An image may stand there as its unit embedding (D,).
    """

    content: str | Image.Image | np.ndarray
    weight: float = 1.0


def compose(embeddings: np.ndarray, weights: Sequence[float]) -> np.ndarray:
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
    query = np.asarray(weights) @ embeddings
    return (query / max(float(np.linalg.norm(query)), 1e-12)).astype(np.float32)


def embed_queries(encoder: ImageEncoder, queries: Sequence[Sequence[Part]]) -> np.ndarray:
    """The unit vectors (Q, D) of queries. Raises UsageError for one without a wanted part."""
    if not all(queries):
        raise UsageError(
            "There is nothing to search for.",
            'Give an image or a text: unidiff retrieve "red dress"',
        )
    parts = [part for query in queries for part in query]
    texts = [part.content for part in parts if isinstance(part.content, str)]
    images = [part.content for part in parts if isinstance(part.content, Image.Image)]
    captions = iter(encoder.embed_captions(texts))
    pictures = iter(encoder.embed_images(images))

    def embedding(part: Part) -> np.ndarray:
        if isinstance(part.content, np.ndarray):
            return part.content
        return next(captions if isinstance(part.content, str) else pictures)

    embeddings = [np.stack([embedding(part) for part in query]) for query in queries]
    return np.stack(
        [
            compose(each, [part.weight for part in query])
            for each, query in zip(embeddings, queries, strict=True)
        ]
    )


def text_alone(query: Sequence[Part]) -> str | None:
    """The text of a query that has no other part."""
    [first, *others] = query
    return None if others or not isinstance(first.content, str) else first.content
