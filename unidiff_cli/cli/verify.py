"""`unidiff verify`: every byte of a project against what was written."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from unidiff_cli.cli import console
from unidiff_cli.cli.bars import shown
from unidiff_cli.cli.options import Json, open_project
from unidiff_cli.errors import Damaged


def verify_command(
    context: typer.Context,
    what: Annotated[
        list[str] | None,
        typer.Argument(help="Folders, such as shards or exports/001-fashion; all by default."),
    ] = None,
    json_out: Json = False,
) -> None:
    """Read every file of the finished folders and compare it with what was written."""
    from unidiff_cli.project.verify import verify

    project = open_project(context)
    with shown(context.obj.quiet) as bars:
        results = verify(project, what or (), on_progress=bars)
    damaged = [result for result in results if result.damage]
    if json_out:
        console.show_json({"project": str(project.root), "folders": [asdict(r) for r in results]})
    else:
        console.show_table(
            ["folder", "files", "MB", "state"],
            [
                [r.folder, f"{r.files:,}", f"{r.bytes / 1e6:,.1f}", f"{len(r.damage)} damaged"]
                if r.damage
                else [r.folder, f"{r.files:,}", f"{r.bytes / 1e6:,.1f}", "whole"]
                for r in results
            ],
        )
    for result in damaged:
        for sentence in result.damage:
            console.note(sentence)
    if damaged:
        count = sum(len(result.damage) for result in damaged)
        remakes = "; ".join(dict.fromkeys(result.remake for result in damaged))
        files = "1 file is" if count == 1 else f"{count:,} files are"
        raise Damaged(f"{files} not what was written.", f"Make it again: {remakes}")
