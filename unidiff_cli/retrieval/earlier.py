"""What an earlier index of the same export still holds: the embeddings of unchanged images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unidiff_cli import registry
from unidiff_cli.data.shards import Row, Shards
from unidiff_cli.errors import Damaged, NotReady
from unidiff_cli.models.encoders import ImageEncoder
from unidiff_cli.progress import Counter
from unidiff_cli.project.project import Project
from unidiff_cli.retrieval.index import Index
from unidiff_cli.retrieval.items import Items
from unidiff_cli.retrieval.provenance import SCHEMA


class Earlier:
    """An index that was made with one export, whatever its catalogue was then."""

    def __init__(self, folder: Path, kind: str) -> None:
        self._folder, self._kind = folder, kind
        # Of images that are there twice, either is right.
        self._numbers = {c: n for n, c in enumerate(Items.open(folder).contents())}

    @classmethod
    def of(cls, project: Project, export: str, inputs: dict[str, str]) -> Earlier | None:
        """The project's index, if the same export made it and it is whole."""
        try:
            # All of it: what is taken over has no other check.
            receipt = project.receipt("index", hashed=None)
            settings, name = receipt.settings, f"exports/{export}"
            if settings.get("schema") != SCHEMA or receipt.inputs.get(name) != inputs[name]:
                return None
            return cls(project.path("index"), settings["kind"])
        except (NotReady, Damaged):
            return None

    def unknown(self, rows: Sequence[Row]) -> int:
        """How many of some rows show an image that it does not hold."""
        return sum(row.content not in self._numbers for row in rows)

    def embed(
        self,
        encoder: ImageEncoder,
        shards: Shards,
        rows: Sequence[Row],
        on_progress: Counter | None = None,
    ) -> np.ndarray:
        """`encoder.embed_rows`, of which only unknown images are embedded."""
        index: Index = registry.load("indexes", self._kind)()
        index.open(self._folder / encoder.name)
        numbers = np.array([self._numbers.get(row.content, -1) for row in rows], np.int64)
        embeddings = np.empty((len(rows), encoder.dimension), np.float32)
        embeddings[numbers >= 0] = index.embeddings(numbers[numbers >= 0])
        new = [row for row, number in zip(rows, numbers, strict=True) if number < 0]
        embeddings[numbers < 0] = encoder.embed_rows(shards, new, on_progress=on_progress)
        return embeddings
