"""Maps of several shapes in one batch: a tensor for each shape, and which rows it holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ByShape:
    """n maps: of each shape a tensor (k, …, h, w), and the numbers of the k maps among the n."""

    parts: list[Tensor]
    rows: list[list[int]]

    def __len__(self) -> int:
        return sum(map(len, self.rows))

    def change(self, function: Callable[[Tensor], Tensor]) -> ByShape:
        """The same rows, each part changed."""
        return ByShape([function(part) for part in self.parts], self.rows)


# Maps (n, …, h, w) of one shape, or of several.
Maps = Tensor | ByShape


def parts_of(maps: Maps) -> list[tuple[Tensor, Sequence[int]]]:
    """The maps of each shape, and their numbers."""
    if isinstance(maps, ByShape):
        return list(zip(maps.parts, maps.rows, strict=True))
    return [(maps, range(len(maps)))]


def chosen_of(maps: Maps, rows: Sequence[int]) -> Tensor:
    """Of these rows, which are of one shape, (n, …, h, w)."""
    if isinstance(maps, Tensor):
        return maps[list(rows)]
    wanted = set(rows)
    for part, own in parts_of(maps):
        if wanted <= set(own):
            return part[[own.index(row) for row in rows]]
    raise ValueError("These rows are of several shapes.")


def put(into: Maps, rows: Sequence[int], maps: Maps) -> None:
    """Writes n maps over these rows of others, each of which has the shape of its new one."""
    for part, own in parts_of(maps):
        places = [rows[n] for n in own]
        for other, others in parts_of(into):
            if other.shape[1:] == part.shape[1:]:
                other[[others.index(place) for place in places]] = part


def joined_maps(several: Sequence[Maps]) -> Maps:
    """Maps after one another, as rows of one whole."""
    tensors = [maps for maps in several if isinstance(maps, Tensor)]
    if len(tensors) == len(several):
        return torch.cat(tensors)
    found: dict[torch.Size, tuple[list[Tensor], list[int]]] = {}
    first = 0
    for maps in several:
        for part, own in parts_of(maps):
            tensors, rows = found.setdefault(part.shape[1:], ([], []))
            tensors.append(part)
            rows += [first + row for row in own]
        first += len(maps)
    parts = [torch.cat(tensors) for tensors, _ in found.values()]
    return ByShape(parts, [rows for _, rows in found.values()])


def in_order(results: Sequence[Tensor], rows: Sequence[Sequence[int]]) -> Tensor:
    """Results (k, …) of each part, as one (n, …) in the order of the rows; with gradient.

    What is alone is given back as it is.
    """
    if len(results) == 1:
        return results[0]
    order = torch.tensor([row for own in rows for row in own], device=results[0].device)
    return torch.cat(list(results))[order.argsort()]
