"""The index in Qdrant: its vectors, ids and attributes, for catalogues past one machine.

A point is an image. Its id follows from the image's id, and its payload holds a digest of all else,
so that a push sends what is new or changed, and one that was stopped goes on. A collection holds
the embeddings of one model and says of which. Points that unidiff did not write are left alone, and
no collection is ever deleted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

import numpy as np

from unidiff_cli.models import encoders
from unidiff_cli.progress import Counter, Progress, labelled
from unidiff_cli.project.files import digest
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt
from unidiff_cli.retrieval import qdrant
from unidiff_cli.retrieval.index import Index
from unidiff_cli.retrieval.items import Items
from unidiff_cli.retrieval.opened import open_index
from unidiff_cli.retrieval.provenance import read_index
from unidiff_cli.retrieval.qdrant import OURS, Address

if TYPE_CHECKING:
    from qdrant_client import QdrantClient
    from qdrant_client.models import PointStruct, Record

# Points of a request: of 768 numbers as JSON some 4 MB.
BATCH = 256
# Ids of a page, where points of images that are gone are looked for.
PAGE = 4_096
# Ids of points are UUIDs below this one, which is our own.
SPACE = UUID("6f0d8f4e-5c0b-5e0e-9d5f-0c6b1a3f7d21")
# What Qdrant calls the types of columns.
TYPES = {"text": "keyword", "number": "float", "date": "datetime"}
FIELDS = dict.fromkeys(("id", "product", "split"), TYPES["text"])
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Pushed:
    """What a push did: images of the index, those that were sent, and points that were removed."""

    images: int
    sent: int
    removed: int


@dataclass(frozen=True)
class _Source:
    """An index, opened for reading: its model, its rows, and its embeddings by image encoder."""

    model: dict[str, str]
    items: Items
    indexes: dict[str, Index]

    @classmethod
    def open(cls, project: Project, export: Path, receipt: Receipt) -> _Source:
        folder, kind = project.path("index"), receipt.settings["kind"]
        names = encoders.available_encoders(export)
        indexes = {name: open_index(folder, kind, name) for name in names}
        fingerprint = receipt.inputs[f"exports/{export.name}"]
        model = {"export": export.name, "fingerprint": fingerprint}
        return cls(model, Items.open(folder), indexes)

    def sizes(self) -> dict[str, int]:
        """The length of an embedding, by image encoder."""
        none = np.zeros(0, np.int64)
        return {name: each.embeddings(none).shape[1] for name, each in self.indexes.items()}

    def fields(self) -> dict[str, str]:
        """The types of what a filter may ask of a point."""
        kinds = self.items.types().items()
        return FIELDS | {_field(name): TYPES[kind] for name, kind in kinds if '"' not in name}


def push(
    project: Project, to: str, *, key: str = "", on_progress: Progress | None = None
) -> Pushed:
    """Makes a collection of Qdrant hold what the project's index holds.

    `to` is as http://host:6333/collection, `key` the server's API key. Points are sent in batches;
    those that are there already are not sent again, and those of images that are gone are removed.
    Raises UsageError for an address that is none, and for a collection of another model or that
    unidiff did not make; NotReady for an index that is missing or stale; EnvironmentProblem for a
    server that does not answer; WorkError for what it refuses.
    """
    address = Address.of(to)
    source = read_index(project, None, partial(_Source.open, project))
    with qdrant.answering(address.place), closing(qdrant.connect(address.place, key)) as client:
        qdrant.open_collection(client, address, source.model, source.sizes(), source.fields())
        sent, keys = _send(client, address.name, source, labelled(on_progress, "pushing"))
        return Pushed(len(keys), sent, _remove_others(client, address.name, np.sort(keys)))


def _field(name: str) -> str:
    """An attribute as a filter of Qdrant names it."""
    return f"attributes.{name}" if _PLAIN.fullmatch(name) else f'attributes."{name}"'


def _send(
    client: QdrantClient, collection: str, source: _Source, on_progress: Counter | None
) -> tuple[int, np.ndarray]:
    """Sends the points that are not there as they are here.

    Gives how many they were, and the ids of all points as keys (N,) of 16 bytes, where a set of a
    million would take 150 MB.
    """
    images, sent = len(source.items), 0
    keys = np.empty(images, "S16")
    for start in range(0, images, BATCH):
        points = _points(source, start, min(BATCH, images - start))
        keys[start : start + len(points)] = _keys(points)
        records = client.retrieve(collection, [p.id for p in points], with_payload=[OURS])
        there = {str(record.id): (record.payload or {}).get(OURS) for record in records}
        fresh = [p for p in points if there.get(str(p.id)) != (p.payload or {})[OURS]]
        if fresh:
            client.upsert(collection, fresh, wait=True)
            sent += len(fresh)
        if on_progress:
            on_progress(start + len(points), images)
    return sent, keys


def _points(source: _Source, start: int, size: int) -> list[PointStruct]:
    """The points of `size` rows from `start` on."""
    from qdrant_client.models import PointStruct

    numbers = np.arange(start, start + size)
    vectors = {name: each.embeddings(numbers) for name, each in source.indexes.items()}
    rows, attributes = source.items.rows(numbers.tolist()), source.items.typed(start, size)
    points = []
    for place, row in enumerate(rows):
        payload: dict[str, Any] = {
            "id": row.id,
            "product": row.group,
            "split": row.split,
            "path": row.path,
            "captions": list(row.captions),
            "attributes": attributes[place],
        }
        payload[OURS] = digest([payload, row.content])
        vector: Any = {name: each[place].tolist() for name, each in vectors.items()}
        points.append(PointStruct(id=str(uuid5(SPACE, row.id)), payload=payload, vector=vector))
    return points


def _remove_others(client: QdrantClient, collection: str, known: np.ndarray) -> int:
    """Removes the points of ours whose keys are not among `known` (N,), sorted; how many."""
    from qdrant_client.models import Filter, IsEmptyCondition, PayloadField

    ours = Filter(must_not=[IsEmptyCondition(is_empty=PayloadField(key=OURS))])
    removed, offset = 0, None
    while True:
        page, offset = client.scroll(collection, ours, PAGE, offset=offset, with_payload=False)
        keys = _keys(page)
        places = np.minimum(np.searchsorted(known, keys), len(known) - 1)
        gone = [page[number].id for number in np.flatnonzero(known[places] != keys)]
        if gone:
            client.delete(collection, gone, wait=True)
            removed += len(gone)
        if offset is None:
            return removed


def _keys(points: Sequence[PointStruct] | Sequence[Record]) -> np.ndarray:
    """The ids of points (M,), 16 bytes each."""
    return np.array([UUID(str(point.id)).bytes for point in points], "S16")
