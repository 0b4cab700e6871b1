"""The contract of an index: embeddings that are stored once and searched often."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from unidiff_cli.config.schema import Section


class Neighbours(NamedTuple):
    """The nearest rows of each query, best first; equal scores in the order of the rows."""

    # (Q, k) int64, row numbers of the embeddings that the index was built of. All queries find
    # equally many: k, or as many as there are.
    rows: np.ndarray
    # (Q, k) float32, their inner products with the query.
    scores: np.ndarray


class Index(Section):
    """A kind of index over unit embeddings. It is empty until `build` or `open`."""

    # Whether a search gives the very rows and scores of a comparison with every embedding.
    exact: ClassVar[bool]

    @abstractmethod
    def build(self, embeddings: np.ndarray) -> None:
        """Takes the unit embeddings of the catalogue's images, float32 (N, D)."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Writes the index into an empty folder, and nothing outside it."""

    @abstractmethod
    def open(self, folder: Path) -> None:
        """Takes the index that `save` wrote there. Raises Damaged for any other file."""

    @abstractmethod
    def search(self, queries: np.ndarray, k: int, allowed: np.ndarray | None = None) -> Neighbours:
        """The k nearest rows of each query (Q, D), or all where k is larger.

        Only rows that `allowed` (N,), bool, lets through are found.
        """

    @abstractmethod
    def embeddings(self, rows: np.ndarray) -> np.ndarray:
        """The stored embeddings (M, D) of some rows (M,)."""
