"""`unidiff serve`: retrieval, generation and a page over HTTP."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from unidiff_cli.cli import console
from unidiff_cli.cli.options import ExportName, open_project
from unidiff_cli.errors import EnvironmentProblem
from unidiff_cli.models.encoders import CLIP

if TYPE_CHECKING:
    from unidiff_cli.service.service import Service

EXAMPLE = "Example: unidiff serve, then open http://127.0.0.1:8000 in a browser"


def serve_command(
    context: typer.Context,
    host: Annotated[
        str,
        typer.Option(
            "--host",
            help="The address to listen on; others than this machine's own "
            "need a token in UNIDIFF_TOKEN.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65_535, help="The port; 0 takes any free one.")
    ] = 8000,
    encoder: Annotated[
        str,
        typer.Option("--encoder", help="Image encoder: clip, or diffdis if the export has it."),
    ] = CLIP,
    export: ExportName = None,
) -> None:
    """Serve retrieval and generation over HTTP, with a page to search the catalogue."""
    try:
        from unidiff_cli.service.server import serve
    except ModuleNotFoundError as missing:
        raise EnvironmentProblem(
            f"The package {missing.name} is not installed, and the service needs it.",
            "Run: pip install 'unidiff-cli[serve]'",
        ) from missing

    def started(address: str, service: Service) -> None:
        catalogue = service.catalogue
        console.note(f"{catalogue.export}, {len(catalogue.items):,} images. Ctrl-C stops it.")
        console.say(address)

    token = os.environ.get("UNIDIFF_TOKEN", "").strip()
    project = open_project(context)
    serve(
        project, host=host, port=port, token=token, export=export, encoder=encoder, on_start=started
    )
