"""The contract of an index: embeddings that are stored once and searched often."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from unidiff_cli.config.schema import Section


class Neighbours(NamedTuple):
    """The nearest rows of a query, best first; equal scores in the order of the rows."""

    # (k,) int64, row numbers of the embeddings that the index was built of.
    rows: np.ndarray
    # (k,) float32, their cosines with the query.
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
    def search(self, query: np.ndarray, k: int) -> Neighbours:
        """The k nearest rows of a unit query (D,), or all N where k is larger."""
