"""A catalogue's rows without a query: what filters let through, the first of it, and by id."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, reduce

import numpy as np

from unidiff_cli.data.shards import Row
from unidiff_cli.errors import UsageError
from unidiff_cli.retrieval.items import Items
from unidiff_cli.retrieval.where import mask_of

# Images of a product beside one that is named.
MOST_VIEWS = 10
# Filters whose rows are kept: of a million rows 1 MB each.
MASKS = 16


class Browsable:
    """The rows of an index, for people who look around."""

    def __init__(self, items: Items) -> None:
        self.items = items
        self._mask = lru_cache(MASKS)(self._read_mask)

    def allowed(self, where: str | Sequence[str] | None) -> np.ndarray | None:
        """The rows (N,) that all filters let through; None where there is none. Raises UsageError.

        See `mask_of`.
        """
        masks = [self._mask(each) for each in ([where] if isinstance(where, str) else where or ())]
        return reduce(np.logical_and, masks) if masks else None

    def _read_mask(self, where: str) -> np.ndarray:
        mask = mask_of(where, self.items)
        # It is kept, and given to all who ask again.
        mask.setflags(write=False)
        return mask

    def first(self, k: int, *, where: str | Sequence[str] | None = None) -> list[Row]:
        """The first k products that filters let through, in the catalogue's order, an image each.

        Raises UsageError for an unknown column.
        """
        allowed = self.allowed(where)
        numbers = np.arange(len(self.items)) if allowed is None else np.flatnonzero(allowed)
        # Of a large catalogue its beginning is enough, unless it has products of many images.
        for looked_at in (MOST_VIEWS * k, len(numbers)):
            groups = self.items.groups[numbers[:looked_at]]
            first = np.sort(np.unique(groups, return_index=True)[1])
            if len(first) >= k:
                break
        return self.items.rows(numbers[first[:k]].tolist())

    def views(self, name: str) -> list[Row]:
        """The images of the product of an image, which is the first. Raises UsageError."""
        [number] = self.numbers([name])
        same = np.flatnonzero(self.items.groups == self.items.groups[number])
        return self.items.rows([number, *(n for n in same[: MOST_VIEWS + 1] if n != number)])

    def numbers(self, names: Sequence[str]) -> np.ndarray:
        """The rows (M,) of images by their ids. Raises UsageError where there is none."""
        numbers = [self.items.number(name) for name in names]
        if missing := [each for each, n in zip(names, numbers, strict=True) if n is None]:
            raise UsageError(f"The index has no image '{missing[0]}'.", "Give the id of a hit.")
        return np.array(numbers, np.int64)
