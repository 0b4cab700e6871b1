"""The stage `index`: the embeddings of the catalogue's images under an export, in `index/`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from unidiff_cli import machine, registry
from unidiff_cli.config.schema import IndexSettings
from unidiff_cli.data import attributes
from unidiff_cli.data.shards import Row, Shards
from unidiff_cli.models import encoders
from unidiff_cli.models.encoders import ImageEncoder
from unidiff_cli.progress import Counter, Progress
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt
from unidiff_cli.retrieval.earlier import Earlier
from unidiff_cli.retrieval.index import Index
from unidiff_cli.retrieval.items import write_items
from unidiff_cli.retrieval.provenance import SCHEMA, index_inputs
from unidiff_cli.retrieval.thresholds import calibrate, write_threshold
from unidiff_cli.retrieval.words import write_words


def index(
    project: Project,
    *,
    export: str | None = None,
    kind: str | None = None,
    force: bool = False,
    on_progress: Progress | None = None,
) -> Receipt:
    """Embeds every image of the catalogue, all splits, with each image encoder of an export.

    Images that an index of the same export holds already keep their embeddings, but with `force`.
    `kind` is the kind of index, by default that of a recipe that names none. `index/` holds one
    index for each encoder, in a folder of its name, and is bound to the export and the shards by
    their hashes. Raises NotReady, UsageError.
    """
    kind = kind or IndexSettings().kind
    new_index = registry.load("indexes", kind)
    with project.lock(existing=True):
        folder, inputs = index_inputs(project, export, hashed=None)
        settings = {"export": folder.name, "kind": kind, "schema": SCHEMA}
        finished = project.finished("index", settings=settings, inputs=inputs)
        if finished and not force:
            return finished
        shards = Shards.open(project.path("shards"))
        rows = shards.rows()
        earlier = None if force else Earlier.of(project, folder.name, inputs)
        embed = earlier.embed if earlier else _embed_all
        counts = {"images": len(rows), "embedded": earlier.unknown(rows) if earlier else len(rows)}
        receipt = Receipt("index", settings, inputs, counts=counts)
        progress = partial(on_progress, "indexing") if on_progress else None
        with project.writing("index", receipt=receipt) as fresh:
            write_items(fresh, rows, attributes.from_figures(shards.receipt.figures))
            write_words(fresh, rows)
            for name, encoder in encoders.load_encoders(project, folder).items():
                encoder.to(machine.device())
                embeddings = embed(encoder, shards, rows, progress)
                (fresh / name).mkdir()
                built: Index = new_index()
                built.build(embeddings)
                built.save(fresh / name)
                write_threshold(fresh / name, calibrate(rows, embeddings))
        return receipt


def _embed_all(
    encoder: ImageEncoder, shards: Shards, rows: Sequence[Row], on_progress: Counter | None
) -> np.ndarray:
    return encoder.embed_rows(shards, rows, on_progress=on_progress)
