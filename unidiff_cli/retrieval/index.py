"""The contract of an index: embeddings that are stored once and searched often."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from unidiff_cli.config.values import Section
from unidiff_cli.retrieval.recall import Neighbours, Questions


class Index(Section):
    """A kind of index over unit embeddings. It is empty until `build` or `open`."""

    # Whether a search gives the very rows and scores of a comparison with every embedding.
    exact: ClassVar[bool]
    # `index.kind: auto` takes the kind with the most images here of those that the catalogue has;
    # None: never.
    images_from: ClassVar[int | None] = None

    @abstractmethod
    def build(self, embeddings: np.ndarray) -> None:
        """Takes the unit embeddings of the catalogue's images, float32 (N, D)."""

    def calibrate(self, questions: Sequence[Questions]) -> None:
        """Sets how far a search goes, so that the answers to questions are found.

        An exact kind is not asked, and another one need not do anything.
        """

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
