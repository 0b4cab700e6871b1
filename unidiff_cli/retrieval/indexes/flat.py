"""Exact search: one matrix product over all embeddings, enough for a million images."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import PrivateAttr
from safetensors.numpy import save_file

from unidiff_cli.errors import Damaged
from unidiff_cli.project.arrays import read_arrays
from unidiff_cli.retrieval.index import Index, Neighbours

FILE = "embeddings.safetensors"


class Flat(Index):
    """All embeddings in one matrix, compared with every query."""

    exact: ClassVar[bool] = True

    # (N, D) float32.
    _embeddings: np.ndarray = PrivateAttr()

    def build(self, embeddings: np.ndarray) -> None:
        self._embeddings = np.ascontiguousarray(embeddings)

    def save(self, folder: Path) -> None:
        save_file({"embeddings": self._embeddings}, folder / FILE)

    def open(self, folder: Path) -> None:
        file, remake = folder / FILE, "Run: unidiff index --force"
        embeddings = read_arrays(file, remake).get("embeddings")
        if embeddings is None or embeddings.ndim != 2 or embeddings.dtype != np.float32:
            raise Damaged(f"{file} does not hold the embeddings of an index.", remake)
        self._embeddings = embeddings

    def search(self, query: np.ndarray, k: int) -> Neighbours:
        scores = self._embeddings @ query
        rows = np.arange(len(scores))
        if k < len(scores):
            # Sorting all scores would take longer than the product.
            least = np.partition(scores, -k)[-k]
            rows = np.flatnonzero(scores >= least)
        rows = rows[np.argsort(-scores[rows], kind="stable")][:k]
        return Neighbours(rows, scores[rows])
