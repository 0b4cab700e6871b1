"""What a search answers: hits, and the other images of their products."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from unidiff_cli.data.shards import Row


@dataclass(frozen=True)
class View:
    """Another image of a hit's product."""

    id: str
    path: str
    score: float


@dataclass(frozen=True)
class Hit:
    """One answer: `score` is the cosine with the query, `path` the image in the catalogue.

    `views` are other images of its product, nearest first, at most ten. `row` is its sample.
    """

    rank: int
    score: float
    id: str
    caption: str
    path: str
    attributes: dict[str, Any]
    views: tuple[View, ...] = ()
    row: Row = field(repr=False, kw_only=True)

    def plain(self) -> dict[str, Any]:
        """The hit as JSON can hold it, without its row."""
        plain = {name: value for name, value in vars(self).items() if name != "row"}
        return plain | {"views": [asdict(view) for view in self.views]}
