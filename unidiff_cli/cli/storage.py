"""`unidiff storage`: where a project is kept beside its directory, and what lies there."""

from __future__ import annotations

from typing import Annotated

import typer

from unidiff_cli.cli import console
from unidiff_cli.cli.bars import shown
from unidiff_cli.cli.options import Json, open_project
from unidiff_cli.errors import NotReady

EXAMPLE = "Example: unidiff storage s3://bucket/my-shop"


def storage_command(
    context: typer.Context,
    address: Annotated[
        str | None,
        typer.Argument(
            metavar="[ADDRESS]", help="A place of fsspec: s3://…, gs://…, az://…, or a folder."
        ),
    ] = None,
    fetch: Annotated[
        list[str] | None,
        typer.Option(
            "--fetch",
            metavar="FOLDER",
            help="Bring this folder here whole, such as shards, with its tars; repeatable.",
        ),
    ] = None,
    json_out: Json = False,
) -> None:
    """Keep the project on object storage, and show what lies here and there.

    ADDRESS names the place once. Whatever is finished here and not there is sent; from then on each
    command sends what it finishes, and fetches what it reads and this machine lacks.
    """
    from unidiff_cli.project import stored
    from unidiff_cli.project.storage import checked, write_address

    project = open_project(context)
    with project.lock(), shown(context.obj.quiet) as bars:
        if address is not None:
            write_address(project.root, checked(address))
        if project.storage is None:
            raise NotReady(f"{project.root} has no storage.", EXAMPLE)
        for name in fetch or ():
            project.fetch(*name.strip("/").split("/"))
        here = stored.folders_here(project.root)
        for done, names in enumerate(here):
            bars("storing", done, len(here))
            # A folder without its tars came from there.
            if not stored.is_partial(project.root, names):
                stored.keep(project.storage, project.root, names, again=True)
        if project.path("exports", "current").is_file():
            project.make_current(project.current_export())
        bars("storing", len(here), len(here))
    rows = stored.folders_there(project.storage, project.root)
    if json_out:
        console.show_json({"address": project.storage.address, "folders": rows})
        return
    console.say(project.storage.address)
    console.show_table(
        ["folder", "MB", "here"],
        [[row["folder"], f"{row['bytes'] / 1e6:,.1f}", row["here"]] for row in rows],
    )
