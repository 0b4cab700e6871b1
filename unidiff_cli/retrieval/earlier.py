"""What earlier indexes of the same export still hold: the embeddings of unchanged images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unidiff_cli import registry
from unidiff_cli.data.row import Row
from unidiff_cli.data.rows import column_of, taken
from unidiff_cli.errors import Damaged, NotReady, UsageError
from unidiff_cli.models.encoders import ImageEncoder
from unidiff_cli.project.folders import PREVIOUS_INDEX
from unidiff_cli.project.project import Project
from unidiff_cli.retrieval.index import Index
from unidiff_cli.retrieval.items import Items
from unidiff_cli.retrieval.provenance import SCHEMA

# Embeddings that are taken over at a time.
BLOCK = 1 << 16


class Earlier:
    """An index that was made with one export, whatever its catalogue was then."""

    def __init__(self, folder: Path, kind: type[Index]) -> None:
        self._folder, self._kind = folder, kind
        # Of images that are there twice, either is right.
        self._numbers = {c: n for n, c in enumerate(Items.open(folder).contents())}

    @classmethod
    def of(cls, project: Project, export: str, inputs: dict[str, str]) -> Earlier | None:
        """The project's index, or the one before it, if the same export made it and it is whole."""
        for name in ("index", PREVIOUS_INDEX):
            try:
                receipt = project.receipt(name)
                if receipt.settings.get("schema") != SCHEMA:
                    continue
                if receipt.inputs.get(f"exports/{export}") != inputs[f"exports/{export}"]:
                    continue
                # All of it: what is taken over has no other check.
                project.receipt(name, hashed=None)
                # A kind of index whose package is gone cannot be opened.
                return cls(project.path(name), registry.load("indexes", receipt.settings["kind"]))
            except (NotReady, Damaged, UsageError, ImportError):
                continue
        return None

    def unknown_rows(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Those of some rows that show an image which it does not hold."""
        return taken(rows, self.unknown(rows))

    def unknown(self, rows: Sequence[Row]) -> np.ndarray:
        """Which of some rows those are, (M,)."""
        return np.flatnonzero(self._numbers_of(rows) < 0)

    def fill(self, encoder: ImageEncoder, rows: Sequence[Row], into: np.ndarray) -> None:
        """Writes the embeddings that it holds into those of all rows, (N, D)."""
        index = self._kind()
        index.open(self._folder / encoder.name)
        numbers = self._numbers_of(rows)
        known = np.flatnonzero(numbers >= 0)
        for start in range(0, len(known), BLOCK):
            at = known[start : start + BLOCK]
            into[at] = index.embeddings(numbers[at])

    def _numbers_of(self, rows: Sequence[Row]) -> np.ndarray:
        """The number (N,) of each row's image in the index; −1: it is not there."""
        contents = column_of(rows, "content")
        return np.array([self._numbers.get(content, -1) for content in contents], np.int64)
