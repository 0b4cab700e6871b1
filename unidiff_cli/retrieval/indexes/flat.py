"""Exact search: every query is compared with all embeddings, the fastest way for some 100,000."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import PrivateAttr

from unidiff_cli.retrieval.embedding_file import map_embeddings, write_embeddings
from unidiff_cli.retrieval.exact import search_exactly
from unidiff_cli.retrieval.index import Index, Neighbours


class Flat(Index):
    """All embeddings in one matrix, compared with every query."""

    exact: ClassVar[bool] = True
    images_from: ClassVar[int | None] = 0

    # (N, D) float32, of the file and not in memory once it is opened.
    _embeddings: np.ndarray = PrivateAttr()

    def build(self, embeddings: np.ndarray) -> None:
        self._embeddings = embeddings

    def save(self, folder: Path) -> None:
        write_embeddings(folder, self._embeddings)

    def open(self, folder: Path) -> None:
        self._embeddings = map_embeddings(folder)

    def embeddings(self, rows: np.ndarray) -> np.ndarray:
        return self._embeddings[rows]

    def search(self, queries: np.ndarray, k: int, allowed: np.ndarray | None = None) -> Neighbours:
        return search_exactly(self._embeddings, queries, k, allowed)
