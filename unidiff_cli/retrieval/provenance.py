"""What an index was made from, and whether that is still what the project holds."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from unidiff_cli.errors import Damaged, NotReady
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import QUICK, Receipt
from unidiff_cli.project.status import rolled_back

logger = logging.getLogger("unidiff")

Value = TypeVar("Value")

# The version of what an index's folder holds: raise it when its files change.
SCHEMA = 4


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

    By default the current export, or that of an index that was rolled back, with a note. Raises
    NotReady where the index is missing, or was made of another export or other shards.
    """
    there = Receipt.read(project.path("index"))
    if export is None and there and rolled_back(project, there):
        export = there.settings["export"]
        logger.info("The index was rolled back, so that export %s answers.", export)
    # What comes before the index is named first where it is missing.
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


def read_index(
    project: Project, export: str | None, read: Callable[[Path, Receipt], Value]
) -> Value:
    """What `read` makes of the export's folder and its index, all of one index.

    It is read again where another index took its place meanwhile. Raises what `current_index` and
    `read` raise.
    """
    while True:
        before = Receipt.read(project.path("index"))
        try:
            value = read(*current_index(project, export))
        except Damaged:
            if Receipt.read(project.path("index")) == before:
                raise
        else:
            if Receipt.read(project.path("index")) == before:
                return value
