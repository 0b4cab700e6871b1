"""A catalogue that is opened once and answers many queries."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from unidiff_cli.data.batch import open_image
from unidiff_cli.data.shards import Shards
from unidiff_cli.errors import UsageError, nearest
from unidiff_cli.models import encoders
from unidiff_cli.models.encoders import CLIP, ImageEncoder
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt
from unidiff_cli.retrieval.browsable import MOST_VIEWS, Browsable
from unidiff_cli.retrieval.composition import Part, embed_queries, text_alone
from unidiff_cli.retrieval.hits import Hit, View
from unidiff_cli.retrieval.index import Neighbours
from unidiff_cli.retrieval.opened import OpenedIndex
from unidiff_cli.retrieval.provenance import read_index
from unidiff_cli.retrieval.query import QueryImage, parts_of
from unidiff_cli.retrieval.synonyms import Offer, offers
from unidiff_cli.retrieval.where import columns_of

logger = logging.getLogger("unidiff")

# What `group_by` says: a hit for each product, or for each image.
PRODUCT, NO_GROUPS = "product", "none"
# Neighbours that are looked at for each hit, where those of a group are one hit.
PER_HIT = 4


class Retriever(Browsable):
    """Finds the nearest images of a catalogue to texts, images and several of both.

    `open` maps the index and loads the model; `search` then only embeds its query.
    """

    def __init__(
        self,
        shards: Shards,
        opened: OpenedIndex,
        encoder: ImageEncoder,
        export: str,
    ) -> None:
        super().__init__(opened.items)
        self.shards, self.encoder = shards, encoder
        self.index, self.threshold = opened.index, opened.threshold
        self._words, self._synonyms = opened.words, opened.synonyms
        # The name of the export whose model it is.
        self.export = export

    @classmethod
    def open(cls, project: Project, export: str | None = None, encoder: str = CLIP) -> Retriever:
        """The indexed catalogue of a project, by the index of one of the export's image encoders.

        Raises NotReady for an index that is missing or stale, Damaged for one that is not what was
        written, UsageError for an unknown export or image encoder.
        """

        def read(folder: Path, receipt: Receipt) -> tuple[Path, OpenedIndex]:
            known = encoders.available_encoders(folder)
            if encoder not in known:
                raise UsageError(
                    f"Export {folder.name} has no image encoder '{encoder}'."
                    f"{nearest(encoder, known)}",
                    f"Its image encoders: {', '.join(known)}.",
                )
            kind = receipt.settings["kind"]
            return folder, OpenedIndex.open(project.path("index"), kind, encoder)

        folder, opened = read_index(project, export, read)
        shards = Shards.of(project, read=False)
        model = encoders.load_encoder(project, folder, encoder)
        return cls(shards, opened, model, folder.name)

    def search(
        self,
        text: str | None = None,
        image: QueryImage | None = None,
        k: int = 10,
        *,
        plus: Sequence[Part] = (),
        minus: Sequence[Part] = (),
        where: str | None = None,
        group_by: str = PRODUCT,
        words: bool = True,
    ) -> list[Hit]:
        """The k nearest images, best first.

        A text, an image and the parts of `plus` count by their weights, and those of `minus` count
        against. Images that hold a rare word of a text alone, such as a name, come first, unless
        `words` is False. Only images that the filter `where` lets through are found. Of images of
        an equal value in the column `group_by` only the nearest is a hit, the others are its views;
        "none" makes each a hit. Raises UsageError where there is nothing to search for, an image
        cannot be read, or a column is unknown.
        """
        query = parts_of(text, image, plus, minus)
        [hits] = self.search_all([query], k, where=where, group_by=group_by, words=words)
        return hits

    def search_all(
        self,
        queries: Sequence[Sequence[Part]],
        k: int = 10,
        *,
        where: str | Sequence[str] | None = None,
        group_by: str = PRODUCT,
        without: Sequence[str] = (),
        words: bool = True,
    ) -> list[list[Hit]]:
        """The hits of several queries, each of one part or more; all are searched at once.

        Every filter of `where` must let a hit through. The products of the images whose ids
        `without` names are left out.
        """
        allowed = self.allowed(where)
        if allowed is not None and not allowed.any():
            logger.info("No image passes the filter.")
        if without:
            others = ~np.isin(self.items.groups, self.items.groups[self.numbers(without)])
            allowed = others if allowed is None else allowed & others
        codes = self._groups(group_by)
        embeddings = self.embed(queries)
        named = [
            self._named(text, embedding, allowed) if words and (text := text_alone(query)) else None
            for query, embedding in zip(queries, embeddings, strict=True)
        ]
        found = self._neighbours(embeddings, k, allowed, codes, named)
        return [
            [
                self._hit(rank, row, score, query, allowed, codes)
                for rank, (row, score) in enumerate(neighbours, 1)
            ]
            for query, neighbours in zip(embeddings, found, strict=True)
        ]

    def embed(self, queries: Sequence[Sequence[Part]]) -> np.ndarray:
        """The unit vectors (Q, D) of queries. Raises UsageError for one without a wanted part."""
        return embed_queries(self.encoder, queries)

    def like(self, name: str, weight: float = 1.0) -> Part:
        """An image of the catalogue as a part of a query, by its id. Raises UsageError."""
        [embedding] = self.index.embeddings(self.numbers([name]))
        return Part(embedding, weight)

    def notes(self, query: Sequence[Part], hits: Sequence[Hit], *, words: bool = True) -> list[str]:
        """What decides the hits of a query, or why they may be no good match, in whole sentences.

        Of a text alone, which of its words were looked up and which no image has; of an image
        alone, that its best hit is below the threshold.
        """
        if text := text_alone(query):
            rare = (
                [f"'{word}'" for word in self._words.rare(text, self.items.groups)] if words else []
            )
            first = [f"Images with {' or '.join(rare)} in their text come first."] if rare else []
            return [*first, *self._words.missing(text)]
        reached = self.threshold.score
        if len(query) != 1 or reached is None or not hits or hits[0].score >= reached:
            return []
        return [
            f"No good match: the best score is {hits[0].score:.3f}, and 95 % of the images whose "
            f"product is in the catalogue reach {reached:.3f}."
        ]

    def offers(
        self, query: Sequence[Part], where: str | Sequence[str] | None = None
    ) -> list[Offer]:
        """Filters for what words of the query's texts stand for in this catalogue's captions.

        Only of wanted texts, and none of an attribute that `where` names already.
        """
        texts = [p.content for p in query if isinstance(p.content, str) and p.weight > 0]
        filters = [where] if isinstance(where, str) else where or []
        named = set().union(*map(columns_of, filters))
        found = offers(" ".join(texts), self._synonyms)
        return [offer for offer in found if offer.synonym.column not in named]

    def image(self, hit: Hit) -> Image.Image:
        """The image of a hit, RGB, as the shards hold it."""
        return open_image(self.shards, hit.row)

    def _groups(self, group_by: str) -> np.ndarray | None:
        if group_by == NO_GROUPS:
            return None
        return self.items.groups if group_by == PRODUCT else self.items.codes(group_by)

    def _named(self, text: str, query: np.ndarray, allowed: np.ndarray | None) -> Neighbours:
        """The rows (M,) that hold a rare word of a text, best first, and their cosines (M,)."""
        rows, fits = self._words.search(text, self.items.groups, allowed)
        scores = self.index.embeddings(rows) @ query
        order = np.lexsort([rows, -scores, -fits])
        return Neighbours(rows[order], scores[order])

    def _neighbours(
        self,
        queries: np.ndarray,
        k: int,
        allowed: np.ndarray | None,
        codes: np.ndarray | None,
        named: Sequence[Neighbours | None],
    ) -> list[list[tuple[int, float]]]:
        """Each query's k nearest rows with their scores, of each group the first.

        The rows that are `named` by a query's words come before all others.
        """
        there = len(self.items) if allowed is None else int(allowed.sum())
        found: list[list[tuple[int, float]]] = [[] for _ in queries]
        open_queries, wanted = np.arange(len(queries)), k if codes is None else PER_HIT * k
        # A query that finds too few groups is asked again for more rows.
        while len(open_queries):
            rows, scores = self.index.search(queries[open_queries], wanted, allowed)
            for query, row, score in zip(open_queries.tolist(), rows, scores, strict=True):
                row, score = _first(named[query], row, score)
                first = slice(k) if codes is None else _first_of_each(codes[row])[:k]
                found[query] = list(zip(row[first].tolist(), score[first].tolist(), strict=True))
            if wanted >= there:
                break
            open_queries = np.array([q for q in open_queries if len(found[q]) < k], int)
            wanted = min(PER_HIT * wanted, there)
        return found

    def _hit(
        self,
        rank: int,
        number: int,
        score: float,
        query: np.ndarray,
        allowed: np.ndarray | None,
        codes: np.ndarray | None,
    ) -> Hit:
        [row] = self.items.rows([number])
        views = () if codes is None else self._views(number, query, allowed, codes)
        path = self.shards.image_address(row)
        caption = row.captions[0]
        return Hit(rank, round(score, 6), row.id, caption, path, row.attributes, views, row=row)

    def _views(
        self, row: int, query: np.ndarray, allowed: np.ndarray | None, codes: np.ndarray
    ) -> tuple[View, ...]:
        """The other images of a hit's group, nearest first."""
        if codes[row] < 0:
            return ()
        same = codes == codes[row]
        same[row] = False
        if allowed is not None:
            same &= allowed
        if not same.any():
            return ()
        rows, scores = (found[0] for found in self.index.search(query[None], MOST_VIEWS, same))
        views = zip(self.items.rows(rows.tolist()), scores.tolist(), strict=True)
        return tuple(
            View(view.id, self.shards.image_address(view), round(score, 6)) for view, score in views
        )


def _first(
    named: Neighbours | None, rows: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Named rows, and then those of rows (M,) that are not among them, with their scores."""
    if named is None:
        return rows, scores
    others = ~np.isin(rows, named.rows)
    return (
        np.concatenate([named.rows, rows[others]]),
        np.concatenate([named.scores, scores[others]]),
    )


def _first_of_each(codes: np.ndarray) -> np.ndarray:
    """The places of the first row of each group, in their order; −1 is a group of its own."""
    labels = np.where(codes < 0, -1 - np.arange(len(codes)), codes)
    return np.sort(np.unique(labels, return_index=True)[1])
