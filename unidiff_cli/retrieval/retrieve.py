"""The stage `retrieve`: a query in words or as a file, answered by the index of the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from unidiff_cli.data.caption_length import warn_of_cut
from unidiff_cli.models.encoders import CLIP
from unidiff_cli.project.project import Project
from unidiff_cli.reports.contact_sheet import contact_sheet
from unidiff_cli.retrieval.retriever import Hit, Retriever, open_query
from unidiff_cli.system import naming


def retrieve(
    project: Project,
    text: str | None = None,
    image: str | Path | None = None,
    *,
    k: int = 10,
    export: str | None = None,
    encoder: str = CLIP,
    sheet_to: Path | None = None,
) -> list[Hit]:
    """The k nearest images of the catalogue, best first, by `Retriever.search`.

    `sheet_to` also writes them as a contact sheet. Raises UsageError for a query that cannot be
    read, an unknown export or image encoder, NotReady for an index that is missing or stale.
    """
    query = open_query(image) if image is not None else None
    retriever = Retriever.open(project, export, encoder)
    warn_of_cut(retriever.encoder.model.window, [text or ""], "text")
    hits = retriever.search(text, query, k)
    if sheet_to is not None:
        with naming(sheet_to):
            _sheet(retriever, query, hits).save(sheet_to)
    return hits


def _sheet(retriever: Retriever, query: Image.Image | None, hits: Sequence[Hit]) -> Image.Image:
    """A contact sheet of the hits, the query image first."""
    images = [retriever.image(hit) for hit in hits]
    labels = [f"{hit.rank}. {hit.score:.3f} {hit.caption}" for hit in hits]
    if query is not None:
        images, labels = [query, *images], ["query", *labels]
    return contact_sheet(images, labels)
