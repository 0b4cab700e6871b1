"""A tensor of a split's samples, in the rows of a store that were computed before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unidiff_cli.data.buckets import Size, grouped
from unidiff_cli.data.by_shape import ByShape
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
    def of(cls, folder: Path, keys: Sequence[str], needed: np.ndarray | None = None) -> StoredRows:
        """By the samples' keys, in hex; another process has just checked what lies there.

        `needed` (n,) masks those that are to be taken; None: all. Raises EnvironmentProblem where
        rows of these are not there.
        """
        store = RowStore(folder, checked=False)
        places = store.places(keys_of(keys))
        wanted = places if needed is None else places[needed]
        if lacking := int((wanted < 0).sum()):
            raise EnvironmentProblem(
                f"The cache in {folder} lacks {lacking:,} of {len(wanted):,} rows.",
                "Somebody deleted them meanwhile. Run it again.",
            )
        return cls(store, places)

    def take(self, indices: Sequence[int]) -> Tensor:
        """The rows (n, …) of the samples of these numbers, all of which are needed."""
        return torch.from_numpy(self.store.take(self.places[list(indices)]))


@dataclass(frozen=True)
class StoredShapes:
    """Stores by the size of the images, the size of each sample's, and where its row is there."""

    stores: Mapping[Size, RowStore]
    sizes: Sequence[Size]
    places: Sequence[int]

    @classmethod
    def of(
        cls,
        folders: Mapping[Size, Path],
        sizes: Sequence[Size],
        keys: Sequence[str],
        needed: np.ndarray | None = None,
    ) -> StoredShapes:
        """By the sizes and the keys of the samples. The rest is as of `StoredRows.of`."""
        stores, places = {}, [0] * len(keys)
        for size, rows in grouped(sizes).items():
            own = None if needed is None else needed[rows]
            stored = StoredRows.of(folders[size], [keys[row] for row in rows], own)
            stores[size] = stored.store
            for row, place in zip(rows, stored.places.tolist(), strict=True):
                places[row] = place
        return cls(stores, list(sizes), places)

    def take(self, indices: Sequence[int]) -> ByShape:
        """The rows of the samples of these numbers, those of a size together."""
        groups = grouped(self.sizes[index] for index in indices)
        parts = [
            torch.from_numpy(self.stores[size].take([self.places[indices[n]] for n in rows]))
            for size, rows in groups.items()
        ]
        return ByShape(parts, list(groups.values()))
