"""The stage `index`: the embeddings of the catalogue's images under an export, in `index/`."""

from __future__ import annotations

from functools import partial

from unidiff_cli import machine, registry
from unidiff_cli.config.schema import IndexSettings
from unidiff_cli.data.shards import Shards
from unidiff_cli.models import encoders
from unidiff_cli.progress import Progress
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt
from unidiff_cli.retrieval.index import Index
from unidiff_cli.retrieval.provenance import index_inputs


def index(
    project: Project,
    *,
    export: str | None = None,
    kind: str | None = None,
    force: bool = False,
    on_progress: Progress | None = None,
) -> Receipt:
    """Embeds every image of the catalogue, all splits, with each image encoder of an export.

    `kind` is the kind of index, by default that of a recipe that names none. `index/` holds one
    index for each encoder, in a folder of its name, and is bound to the export and the shards by
    their hashes. Raises NotReady, UsageError.
    """
    kind = kind or IndexSettings().kind
    new_index = registry.load("indexes", kind)
    with project.lock(existing=True):
        folder, inputs = index_inputs(project, export, hashed=None)
        settings = {"export": folder.name, "kind": kind}
        finished = project.finished("index", settings=settings, inputs=inputs)
        if finished and not force:
            return finished
        shards = Shards.open(project.path("shards"))
        rows = shards.rows()
        receipt = Receipt("index", settings, inputs, counts={"images": len(rows)})
        progress = partial(on_progress, "indexing") if on_progress else None
        with project.writing("index", receipt=receipt) as fresh:
            for name, encoder in encoders.load_encoders(project, folder).items():
                encoder.to(machine.device())
                built: Index = new_index()
                built.build(encoder.embed_rows(shards, rows, on_progress=progress))
                (fresh / name).mkdir()
                built.save(fresh / name)
        return receipt
