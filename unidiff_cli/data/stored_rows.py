"""A tensor of a split's samples, in the rows of a store that were computed before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unidiff_cli.errors import EnvironmentProblem
from unidiff_cli.project.row_store import RowStore, keys_of

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class StoredRows:
    """A store, and where in it the row of each sample is."""

    store: RowStore
    places: np.ndarray

    @classmethod
    def of(cls, folder: Path, keys: Sequence[str]) -> StoredRows:
        """By the samples' keys, in hex; another process has just checked what lies there.

        Raises EnvironmentProblem where rows are not there.
        """
        store = RowStore(folder, checked=False)
        places = store.places(keys_of(keys))
        if lacking := int((places < 0).sum()):
            raise EnvironmentProblem(
                f"The cache in {folder} lacks {lacking:,} of {len(keys):,} rows.",
                "Somebody deleted them meanwhile. Run it again.",
            )
        return cls(store, places)

    def take(self, indices: Sequence[int]) -> np.ndarray:
        """The rows (n, …) of the samples of these numbers."""
        return self.store.take(self.places[list(indices)])
