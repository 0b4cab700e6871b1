"""index: the catalogue's images under the current export → index/, bound to both by their hashes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from unidiff_cli import machine
from unidiff_cli.data.shards import Shards
from unidiff_cli.models import encoders
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt
from unidiff_cli.retrieval import index as index_module


def index(
    project: Project,
    *,
    export: str | None = None,
    force: bool = False,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> Receipt:
    """Embeds every image of the catalogue, all splits, with an export's CLIP, and its DiffDis where it has one. Raises NotReady, UsageError."""
    with project.lock(existing=True):
        folder, inputs = index_module.inputs(project, export)
        done = Receipt.read(project.path("index"))
        if done and done.same_work({"export": folder.name}, inputs) and not force:
            return done
        shards = Shards.open(project.path("shards"))
        rows = shards.rows()
        receipt = Receipt("index", {"export": folder.name}, inputs, counts={"images": len(rows)})
        clip = encoders.load_encoder(project, folder).to(machine.device())
        with project.writing("index", receipt=receipt) as fresh:
            progress = (
                (lambda done, total: on_progress("indexing", done, total)) if on_progress else None
            )
            embed = partial(encoders.embed_images, clip, shards, rows, on_progress=progress)
            index_module.write(
                fresh, **{by: embed(by=by) for by in encoders.available_encoders(folder)}
            )
        return receipt
