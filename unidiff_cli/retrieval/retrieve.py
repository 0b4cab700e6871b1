"""The stage `retrieve`: queries in words or as files, answered by the index of the catalogue."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from unidiff_cli.data.caption_length import warn_of_cut
from unidiff_cli.models.encoders import CLIP
from unidiff_cli.project.project import Project
from unidiff_cli.reports.contact_sheet import contact_sheet
from unidiff_cli.retrieval.composition import Part
from unidiff_cli.retrieval.hits import Hit
from unidiff_cli.retrieval.query import open_query, parts_of, read_part
from unidiff_cli.retrieval.retriever import PRODUCT, Retriever
from unidiff_cli.system import naming

logger = logging.getLogger("unidiff")


def retrieve(
    project: Project,
    text: str | None = None,
    image: str | Path | None = None,
    *,
    k: int = 10,
    plus: Sequence[str] = (),
    minus: Sequence[str] = (),
    where: str | None = None,
    group_by: str = PRODUCT,
    words: bool = True,
    export: str | None = None,
    encoder: str = CLIP,
    sheet_to: Path | None = None,
) -> list[Hit]:
    """The k nearest images of the catalogue, best first, by `Retriever.search`.

    Each of `plus` and `minus` is a text or the path of an image, with its weight behind a ^.
    `sheet_to` also writes the hits as a contact sheet. Notes say what decides them, and where they
    may be no good match. Raises UsageError for a query that cannot be read, an unknown export,
    image encoder or column, NotReady for an index that is missing or stale.
    """
    picture = open_query(image) if image is not None else None
    wanted, unwanted = ([read_part(word) for word in words] for words in (plus, minus))
    retriever = Retriever.open(project, export, encoder)
    texts = [text or "", *(p.content for p in (*wanted, *unwanted) if isinstance(p.content, str))]
    warn_of_cut(retriever.encoder.model.window, texts, "text")
    query = parts_of(text, picture, wanted, unwanted)
    [hits] = retriever.search_all([query], k, where=where, group_by=group_by, words=words)
    for note in _notes(retriever, query, hits, where, words):
        logger.info("%s", note)
    if sheet_to is not None:
        with naming(sheet_to):
            _sheet(retriever, picture, hits).save(sheet_to)
    return hits


def retrieve_batch(
    project: Project,
    queries: Sequence[str],
    *,
    k: int = 10,
    where: str | None = None,
    group_by: str = PRODUCT,
    words: bool = True,
    export: str | None = None,
    encoder: str = CLIP,
) -> list[list[Hit]]:
    """The hits of many queries, each a text or the path of an image, by `Retriever.search_all`.

    A note says of which queries they may be no good match. Raises what `retrieve` raises, before
    anything is searched.
    """
    parts = [[read_part(query)] for query in queries]
    retriever = Retriever.open(project, export, encoder)
    texts = [part.content for [part] in parts if isinstance(part.content, str)]
    warn_of_cut(retriever.encoder.model.window, texts, "text")
    answers = retriever.search_all(parts, k, where=where, group_by=group_by, words=words)
    for query, asked, hits in zip(queries, parts, answers, strict=True):
        for note in _notes(retriever, asked, hits, where, words):
            logger.info("%s: %s", query, note)
    return answers


def _notes(
    retriever: Retriever, query: Sequence[Part], hits: Sequence[Hit], where: str | None, words: bool
) -> list[str]:
    """What decides the hits, and the filters that words of the query stand for."""
    offers = retriever.offers(query, where)
    offered = [f'{offer.reason} Only those: --where "{offer.where}"' for offer in offers]
    return [*retriever.notes(query, hits, words=words), *offered]


def _sheet(retriever: Retriever, query: Image.Image | None, hits: Sequence[Hit]) -> Image.Image:
    """A contact sheet of the hits, the query image first."""
    images = [retriever.image(hit) for hit in hits]
    labels = [f"{hit.rank}. {hit.score:.3f} {hit.caption}" for hit in hits]
    if query is not None:
        images, labels = [query, *images], ["query", *labels]
    return contact_sheet(images, labels)
