"""`unidiff index` and `unidiff retrieve`: the nearest products of the catalogue."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from unidiff_cli.cli import console
from unidiff_cli.cli.options import (
    Assignments,
    ExportName,
    Force,
    Json,
    announced_project,
    open_project,
    receipt_of,
    say_done,
    sheet_file,
)
from unidiff_cli.models.encoders import CLIP

EXAMPLE = (
    'Examples: unidiff retrieve query.jpg · unidiff retrieve "black yoga pants" -k 5 · both at once'
)


def index_command(
    context: typer.Context,
    export: ExportName = None,
    assignments: Assignments = None,
    force: Force = False,
) -> None:
    """Embed every image of the catalogue with an export's image encoders."""
    from unidiff_cli.config.load import read_recipe
    from unidiff_cli.retrieval.build import index

    project = announced_project(context)
    recipe = read_recipe(
        project_file=project.file, environ=os.environ, assignments=assignments or ()
    )
    before = receipt_of(project, "index")
    with console.bars(context.obj.quiet) as bars:
        receipt = index(
            project, export=export, kind=recipe.index.kind, force=force, on_progress=bars
        )
    say_done(project, "index", before, receipt, 'unidiff retrieve "red dress"')


def retrieve_command(
    context: typer.Context,
    query: Annotated[
        list[str] | None, typer.Argument(help="An image, a text, or both.", show_default=False)
    ] = None,
    text: Annotated[
        str | None, typer.Option("--text", help="The text, also where a file has such a name.")
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option("--image", metavar="FILE", help="The image, whatever its name looks like."),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many hits.")] = 10,
    encoder: Annotated[
        str,
        typer.Option("--encoder", help="Image encoder: clip, or diffdis if the export has it."),
    ] = CLIP,
    sheet: Annotated[
        Path | None,
        typer.Option(
            "--sheet",
            metavar="PNG",
            help="Also write the hits as a contact sheet.",
            callback=sheet_file,
        ),
    ] = None,
    export: ExportName = None,
    json_out: Json = False,
) -> None:
    """Find the nearest products, by image, by text, or by both."""
    from unidiff_cli.retrieval.query import split_query
    from unidiff_cli.retrieval.retrieve import retrieve

    words, file = split_query(query or (), text, image)
    hits = retrieve(
        open_project(context), words, file, k=k, export=export, encoder=encoder, sheet_to=sheet
    )
    if json_out:
        console.show_json([hit.plain() for hit in hits])
    else:
        rows = [[hit.rank, f"{hit.score:.3f}", hit.caption, hit.path] for hit in hits]
        console.show_table(["rank", "score", "caption", "path"], rows, path="path")
        if sheet:
            console.say(str(sheet))
