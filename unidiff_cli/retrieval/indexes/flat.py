"""Exact search: one matrix product over all embeddings, enough for a million images."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import PrivateAttr
from safetensors.numpy import load_file, save_file

from unidiff_cli.errors import Damaged
from unidiff_cli.retrieval.index import Index, Neighbours
from unidiff_cli.system import first_line

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
        try:
            embeddings = load_file(folder / FILE)["embeddings"]
            if embeddings.ndim != 2 or embeddings.dtype != np.float32:
                raise ValueError(f"{embeddings.ndim} dimensions of {embeddings.dtype}")
        # On a header of another kind the library raises its own class, numpy's and KeyError.
        except Exception as problem:
            raise Damaged(
                f"{folder / FILE} is not what was written: {first_line(problem)}.",
                "Run: unidiff index --force",
            ) from problem
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
