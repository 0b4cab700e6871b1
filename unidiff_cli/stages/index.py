"""index: the catalogue's pictures under the current export → index/, bound to both by their hashes."""

from __future__ import annotations

from collections.abc import Callable

import torch

from .. import vectors
from ..clip import Clip
from ..errors import NotReady
from ..project import Project, Receipt
from ..recipe import Index
from ..shards import Shards


def index(
    project: Project,
    options: Index | None = None,
    *,
    export: str | None = None,
    force: bool = False,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> Receipt:
    """Embeds every picture of the catalogue, all splits, with an export's CLIP. Raises NotReady, UsageError."""
    options = options or Index()
    with project.lock():
        folder, inputs = inputs_now(project, export)
        done = Receipt.read(project.room("index"))
        if done and done.same_work({"export": folder.name}, inputs) and not force:
            return done
        shards = Shards.open(project.room("shards"))
        rows = shards.rows()
        receipt = Receipt("index", {"export": folder.name}, inputs, counts={"pictures": len(rows)})
        clip = Clip.read(folder / "clip").to("cuda" if torch.cuda.is_available() else "cpu")
        with project.writing("index", receipt=receipt) as fresh:
            progress = (lambda done, total: on_progress("indexing", done, total)) if on_progress else None
            vectors.write(fresh, vectors.embed_pictures(clip, shards, rows, options.batch_size, progress))
        return receipt


def inputs_now(project: Project, export: str | None) -> tuple:
    """The export's folder and the hashes an index of it must be bound to."""
    shards = project.receipt("shards", command="unidiff prepare CATALOG")
    folder = project.export(export)
    return folder, {
        "shards": shards.hash,
        f"exports/{folder.name}": project.receipt("exports", folder.name).hash,
    }


def fresh(project: Project, export: str | None) -> tuple:
    """The export's folder and its index's receipt. Raises NotReady where the index is of another model or catalogue."""
    folder, inputs = inputs_now(project, export)
    receipt = project.receipt("index", command="unidiff index")
    command = "unidiff index" + (f" --export {export}" if export else "")
    if receipt.settings["export"] != folder.name:
        raise NotReady(
            f"The index was built with {receipt.settings['export']}, not with {folder.name}.",
            f"Run: {command}",
        )
    if receipt.inputs != inputs:
        changed = " and ".join(k for k in inputs if receipt.inputs.get(k) != inputs[k])
        raise NotReady(f"The index is stale: {changed} changed since it was built.", f"Run: {command}")
    return folder, receipt
