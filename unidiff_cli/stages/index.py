"""index: the catalogue's pictures under the current export → index/, bound to both by their hashes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from .. import vectors
from ..project import Project, Receipt
from ..shards import Shards


def index(
    project: Project,
    *,
    export: str | None = None,
    force: bool = False,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> Receipt:
    """Embeds every picture of the catalogue, all splits, with an export's CLIP, and its DiffDis where it has one. Raises NotReady, UsageError."""
    with project.lock(existing=True):
        folder, inputs = vectors.inputs(project, export)
        done = Receipt.read(project.room("index"))
        if done and done.same_work({"export": folder.name}, inputs) and not force:
            return done
        shards = Shards.open(project.room("shards"))
        rows = shards.rows()
        receipt = Receipt("index", {"export": folder.name}, inputs, counts={"pictures": len(rows)})
        clip = vectors.model(project, folder).to("cuda" if torch.cuda.is_available() else "cpu")
        with project.writing("index", receipt=receipt) as fresh:
            progress = (lambda done, total: on_progress("indexing", done, total)) if on_progress else None
            embed = partial(vectors.embed_pictures, clip, shards, rows, on_progress=progress)
            vectors.write(fresh, **{by: embed(by=by) for by in vectors.ways(folder)})
        return receipt
