"""The catalogue that requests are answered from, and the one that takes its place when it is built.

A request keeps the catalogue that it began with. Its files are mapped or open, so it is answered
whole while another index takes its place.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from unidiff_cli import machine
from unidiff_cli.data.shards import Row
from unidiff_cli.errors import UnidiffError
from unidiff_cli.models.encoders import CLIP
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import RECEIPT
from unidiff_cli.retrieval.composition import Part
from unidiff_cli.retrieval.facets import Chosen, Facet, Facets, filters_of
from unidiff_cli.retrieval.hits import Hit
from unidiff_cli.retrieval.retriever import PRODUCT, Retriever
from unidiff_cli.retrieval.synonyms import Offer

logger = logging.getLogger("unidiff.service")

# Counts of facets that are kept for a catalogue.
MOST_COUNTS = 256


@dataclass(frozen=True)
class Filter:
    """What may be found: the values chosen of attributes, and a filter as it is written."""

    chosen: Chosen
    where: str = ""


class Found(NamedTuple):
    """The hits of a search, what is to be said of them, and filters for words of the query."""

    hits: list[Hit]
    notes: list[str]
    offers: list[Offer]


class Catalogue:
    """An index with its model and the choices of its attributes."""

    def __init__(self, retriever: Retriever) -> None:
        self.retriever, self.export, self.items = retriever, retriever.export, retriever.items
        self._facets = Facets(self.items)
        # The first look-up sorts the ids, a second for a million: no request waits for that.
        self.items.number("")
        self._counted = lru_cache(MOST_COUNTS)(self._count)

    @classmethod
    def open(cls, project: Project, export: str | None, encoder: str) -> Catalogue:
        """Maps the index and loads the model. Raises what `Retriever.open` raises."""
        retriever = Retriever.open(project, export, encoder)
        retriever.encoder.to(machine.device())
        return cls(retriever)

    def search(
        self,
        parts: Sequence[Part],
        k: int,
        filtered: Filter,
        group_by: str = PRODUCT,
        without: Sequence[str] = (),
        words: bool = True,
    ) -> Found:
        """The k nearest images to a query of parts by `Retriever.search_all`, and notes on them."""
        [hits] = self.retriever.search_all(
            [parts],
            k,
            where=self.where(filtered),
            group_by=group_by,
            without=without,
            words=words,
        )
        notes = self.retriever.notes(parts, hits, words=words)
        return Found(hits, notes, self.retriever.offers(parts, self.where(filtered)))

    def choice(self, offer: Offer) -> str | None:
        """What an offer's filter is as a choice of an attribute; None where it is no choice."""
        known = offer.synonym
        is_text = self._facets.columns.get(known.column) is False
        return f"{known.column}:{known.value}" if is_text else None

    def first(self, k: int, filtered: Filter) -> list[Row]:
        """The first k products that are left, where nothing is searched for."""
        return self.retriever.first(k, where=self.where(filtered))

    def facets(self, filtered: Filter) -> list[Facet]:
        """The attributes with their counts among what the other choices leave.

        Raises UsageError for a filter that cannot be read.
        """
        chosen = tuple((name, tuple(values)) for name, values in filtered.chosen.items())
        return self._counted(chosen, filtered.where)

    def where(self, filtered: Filter, besides: str = "") -> list[str]:
        """All filters; of the attribute `besides` nothing is chosen."""
        chosen = filters_of(filtered.chosen, self._facets.columns, besides)
        return [*chosen, *([filtered.where] if filtered.where else [])]

    def _count(self, chosen: tuple[tuple[str, tuple[str, ...]], ...], where: str) -> list[Facet]:
        filtered = Filter(dict(chosen), where)
        found = []
        for name in self._facets.columns:
            allowed = self.retriever.allowed(self.where(filtered, besides=name))
            found.append(self._facets.count(name, allowed, filtered.chosen.get(name, ())))
        return [facet for facet in found if facet.choices]


@dataclass(frozen=True)
class State:
    """What decides which index and model are in force; equal while nothing changed."""

    current: str
    export: tuple[int, int]
    index: tuple[int, int]
    shards: tuple[int, int]


class Current:
    """The catalogue in force, and its successor once a new export is indexed."""

    def __init__(self, project: Project, export: str | None, encoder: str = CLIP) -> None:
        """Raises what `Catalogue.open` raises."""
        self.project, self._export, self._encoder = project, export, encoder
        self._seen = self._state()
        self.catalogue = Catalogue.open(project, export, encoder)
        # Why the newest index is not in force, if it is not.
        self.problem = ""

    def changed(self) -> bool:
        """Whether something else lies there than when it was looked at last."""
        return self._state() != self._seen

    def reload(self) -> bool:
        """Puts what lies there now in force. False where it cannot be used: all stays as it is."""
        self._seen = self._state()
        try:
            fresh = Catalogue.open(self.project, self._export, self._encoder)
        # A folder that is just being replaced may raise anything of the system's.
        except (UnidiffError, OSError) as problem:
            if str(problem) != self.problem:
                logger.warning("The catalogue stays as it was. %s", problem)
            self.problem = str(problem)
            return False
        self.catalogue, self.problem = fresh, ""
        logger.info("%s is in force, %d images.", fresh.export, len(fresh.items))
        return True

    def _state(self) -> State:
        name = self._export or self.project.current_export()
        folders = [("exports", name), ("index",), ("shards",)]
        return State(name, *(_stamp(self.project, *folder) for folder in folders))


def _stamp(project: Project, *folder: str) -> tuple[int, int]:
    """Changes with a folder's receipt; zeros where there is none."""
    try:
        status = project.path(*folder, RECEIPT).stat()
    except OSError:
        return (0, 0)
    return (status.st_ino, status.st_mtime_ns)


def chosen_of(words: Sequence[str]) -> Mapping[str, list[str]]:
    """Choices as an address has them, "color:red", as values by attribute."""
    chosen: dict[str, list[str]] = {}
    for word in words:
        name, between, value = word.partition(":")
        if between and value and value not in chosen.setdefault(name, []):
            chosen[name].append(value)
    return chosen
