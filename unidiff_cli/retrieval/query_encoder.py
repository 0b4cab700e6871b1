"""Queries as embeddings, for those who search elsewhere than in the project's index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unidiff_cli.models.encoders import CLIP, ImageEncoder, load_encoder
from unidiff_cli.project.project import Project
from unidiff_cli.retrieval.composition import Part, embed_queries
from unidiff_cli.retrieval.query import QueryImage, parts_of


class QueryEncoder:
    """An export's model, opened once, that embeds texts, images and several of both.

    `fingerprint` is that of the export; an index and a pushed collection name the one that made
    their embeddings, and only those can be compared with a query's.
    """

    def __init__(self, encoder: ImageEncoder, fingerprint: str) -> None:
        self.encoder, self.fingerprint = encoder, fingerprint

    @classmethod
    def open(cls, project: Project, export: str | None = None, encoder: str = CLIP) -> QueryEncoder:
        """The model of an export, the current one by default. No index is needed.

        Raises NotReady, Damaged, and UsageError for an unknown export or image encoder.
        """
        folder = project.export(export)
        fingerprint = project.receipt("exports", folder.name).hash
        return cls(load_encoder(project, folder, encoder), fingerprint)

    def embed(
        self,
        text: str | None = None,
        image: QueryImage | None = None,
        *,
        plus: Sequence[Part] = (),
        minus: Sequence[Part] = (),
    ) -> np.ndarray:
        """The unit vector (D,), float32, of a query that `Retriever.search` would take.

        Raises UsageError where there is nothing to search for, or an image cannot be read.
        """
        [vector] = embed_queries(self.encoder, [parts_of(text, image, plus, minus)])
        return vector
