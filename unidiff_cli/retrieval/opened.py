"""All that an index's folder holds for one image encoder, opened together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from unidiff_cli import registry
from unidiff_cli.retrieval.index import Index
from unidiff_cli.retrieval.items import Items
from unidiff_cli.retrieval.synonyms import Synonym, read_synonyms
from unidiff_cli.retrieval.thresholds import Threshold, read_threshold
from unidiff_cli.retrieval.words import Words


@dataclass(frozen=True)
class OpenedIndex:
    """The embeddings of a catalogue's images as an index, its rows, and what is known of them."""

    index: Index
    items: Items
    words: Words
    synonyms: Mapping[str, Synonym] = field(default_factory=dict)
    threshold: Threshold = field(default_factory=lambda: Threshold(None, 0))

    @classmethod
    def open(cls, folder: Path, kind: str, encoder: str) -> OpenedIndex:
        """Maps the files of a folder. Raises Damaged for one that is not what was written."""
        index = open_index(folder, kind, encoder)
        items, words = Items.open(folder), Words.open(folder)
        return cls(index, items, words, read_synonyms(folder), read_threshold(folder / encoder))


def open_index(folder: Path, kind: str, encoder: str) -> Index:
    """The embeddings of one image encoder alone. Raises Damaged where they are not as written."""
    index: Index = registry.load("indexes", kind)()
    index.open(folder / encoder)
    return index
