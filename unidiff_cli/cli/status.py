"""`unidiff status`: where the project stands."""

from __future__ import annotations

from dataclasses import asdict

import typer

from unidiff_cli.cli import console
from unidiff_cli.cli.options import Json, open_project


def status_command(context: typer.Context, json_out: Json = False) -> None:
    """Show each folder of the project and the next command."""
    from unidiff_cli.project.status import folders, next_command

    project = open_project(context)
    rows = folders(project)
    if json_out:
        console.show_json(
            {
                "project": str(project.root),
                "folders": [asdict(row) for row in rows],
                "next": next_command(rows),
            }
        )
        return
    console.say(str(project.root))
    console.show_table(
        ["folder", "state", "contents"],
        [[row.folder, row.state, row.contents] for row in rows],
    )
    console.say(f"Next: {next_command(rows)}")
