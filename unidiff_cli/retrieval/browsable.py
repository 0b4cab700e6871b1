"""A catalogue's rows without a query: what filters let through, the first of it, and by id."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unidiff_cli.data.shards import Row
from unidiff_cli.errors import UsageError
from unidiff_cli.retrieval.items import Items
from unidiff_cli.retrieval.where import mask_of

# Images of a product beside one that is named.
MOST_VIEWS = 10


class Browsable:
    """The rows of an index, for people who look around."""

    def __init__(self, items: Items) -> None:
        self.items = items

    def allowed(self, where: str | Sequence[str] | None) -> np.ndarray | None:
        """The rows (N,) that all filters let through; None where there is none. Raises UsageError.

        See `mask_of`.
        """
        filters = [where] if isinstance(where, str) else where
        return np.all([mask_of(each, self.items) for each in filters], axis=0) if filters else None

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
