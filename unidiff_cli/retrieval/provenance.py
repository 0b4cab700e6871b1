"""What an index was made from, and whether that is still what the project holds."""

from __future__ import annotations

from pathlib import Path

from unidiff_cli.errors import NotReady
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import QUICK, Receipt

# The version of what an index's folder holds: raise it when its files change.
SCHEMA = 3


def index_inputs(
    project: Project, export: str | None, hashed: int | None = QUICK
) -> tuple[Path, dict[str, str]]:
    """The export's folder, `hashed` bytes of it checked, and what an index of it is bound to."""
    shards = project.receipt("shards")
    folder = project.export(export, hashed)
    return folder, {
        "shards": shards.hash,
        f"exports/{folder.name}": project.receipt("exports", folder.name).hash,
    }


def current_index(project: Project, export: str | None) -> tuple[Path, Receipt]:
    """The export's folder and the receipt of its index.

    Raises NotReady where the index is missing, or was made of another export or other shards.
    """
    folder, inputs = index_inputs(project, export)
    receipt = project.receipt("index", hashed=QUICK)
    command = "unidiff index" + (f" --export {export}" if export else "")
    if receipt.settings.get("schema") != SCHEMA:
        raise NotReady("The index was built by another unidiff.", f"Run: {command}")
    if receipt.settings["export"] != folder.name:
        raise NotReady(
            f"The index was built with {receipt.settings['export']}, not with {folder.name}.",
            f"Run: {command}",
        )
    if receipt.inputs != inputs:
        changed = " and ".join(k for k in inputs if receipt.inputs.get(k) != inputs[k])
        raise NotReady(
            f"The index is stale: {changed} changed since it was built.", f"Run: {command}"
        )
    return folder, receipt
