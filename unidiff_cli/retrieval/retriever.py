"""A catalogue that is opened once and answers many queries."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unidiff_cli import registry
from unidiff_cli.data.batch import open_image
from unidiff_cli.data.decode import decode_query
from unidiff_cli.data.locations import InMemory, locate
from unidiff_cli.data.sample import Reason
from unidiff_cli.data.shards import Row, Shards
from unidiff_cli.errors import UsageError, nearest
from unidiff_cli.models import encoders
from unidiff_cli.models.encoders import CLIP, ImageEncoder
from unidiff_cli.project.project import Project
from unidiff_cli.retrieval.index import Index
from unidiff_cli.retrieval.provenance import current_index

QueryImage = Image.Image | str | Path | bytes


@dataclass(frozen=True)
class Hit:
    """One answer: `score` is a cosine, `path` the image in the catalogue, `row` its sample."""

    rank: int
    score: float
    id: str
    caption: str
    path: str
    attributes: dict[str, Any]
    row: Row = field(repr=False)

    def plain(self) -> dict[str, Any]:
        """The hit as JSON can hold it, without its row."""
        return {name: value for name, value in vars(self).items() if name != "row"}


class Retriever:
    """Finds the nearest images of a catalogue to a text, an image or both.

    `open` reads the index and loads the model; `search` then only embeds its query.
    """

    def __init__(self, shards: Shards, index: Index, encoder: ImageEncoder) -> None:
        self.shards, self.index, self.encoder = shards, index, encoder
        self.rows = shards.rows()

    @classmethod
    def open(cls, project: Project, export: str | None = None, encoder: str = CLIP) -> Retriever:
        """The indexed catalogue of a project, by the index of one of the export's image encoders.

        Raises NotReady for an index that is missing or stale, Damaged for one that is not what was
        written, UsageError for an unknown export or image encoder.
        """
        folder, receipt = current_index(project, export)
        known = encoders.available_encoders(folder)
        if encoder not in known:
            raise UsageError(
                f"Export {folder.name} has no image encoder '{encoder}'.{nearest(encoder, known)}",
                f"Its image encoders: {', '.join(known)}.",
            )
        shards = Shards.open(project.path("shards"))
        index: Index = registry.load("indexes", receipt.settings["kind"])()
        index.open(project.path("index", encoder))
        return cls(shards, index, encoders.load_encoder(project, folder, encoder))

    def search(
        self, text: str | None = None, image: QueryImage | None = None, k: int = 10
    ) -> list[Hit]:
        """The k nearest images, best first.

        With a text and an image these are the nearest to the mean of the two embeddings. Raises
        UsageError where there is neither, or the image cannot be read.
        """
        query = self._embed(text, image)
        rows, scores = self.index.search(query, k)
        return [
            self._hit(rank, self.rows[row], float(score))
            for rank, (row, score) in enumerate(zip(rows, scores, strict=True), 1)
        ]

    def image(self, hit: Hit) -> Image.Image:
        """The image of a hit, RGB, as the shards hold it."""
        return open_image(self.shards, hit.row)

    def _embed(self, text: str | None, image: QueryImage | None) -> np.ndarray:
        """The unit embedding (D,) of a query."""
        # A blank text is none.
        text = (text or "").strip()
        if not text and image is None:
            raise UsageError(
                "There is nothing to search for.",
                'Give an image or a text: unidiff retrieve "red dress"',
            )
        query = np.zeros(self.encoder.dimension, np.float32)
        if text:
            query += self.encoder.embed_captions([text])[0]
        if image is not None:
            opened = image if isinstance(image, Image.Image) else open_query(image)
            query += self.encoder.embed_images([opened])[0]
        query /= max(float(np.linalg.norm(query)), 1e-12)
        return query

    def _hit(self, rank: int, row: Row, score: float) -> Hit:
        path = self.shards.image_address(row)
        return Hit(rank, round(score, 6), row.id, row.captions[0], path, row.attributes, row)


def open_query(source: str | Path | bytes) -> Image.Image:
    """A query image, prepared as the catalogue's images are: rotated by EXIF, on white, sRGB.

    Raises UsageError for a file, or the bytes of one, that is no image.
    """
    location = InMemory("query", source) if isinstance(source, bytes) else locate(source)
    image = decode_query(location)
    if isinstance(image, Reason):
        name = "The query" if isinstance(source, bytes) else source
        raise UsageError(
            f"{name} cannot be read as an image: {image.text}.", "Give a JPEG, PNG or WebP file."
        )
    return Image.open(io.BytesIO(image.data)).convert("RGB")
