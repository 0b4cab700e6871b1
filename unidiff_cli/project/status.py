"""Where a project stands: the state of each folder, and the command that comes next."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unidiff_cli.project.numbered import by_number
from unidiff_cli.project.project import FOLDERS, Project
from unidiff_cli.project.receipt import Receipt


@dataclass(frozen=True)
class FolderState:
    """One folder of a project: how far its stage came, and what it holds or why it is stale."""

    folder: str
    state: Literal["missing", "unfinished", "stale", "ready"]
    contents: str = ""


def folders(project: Project) -> list[FolderState]:
    """The state of every folder that a stage closes, in the order of the work.

    Of the folders that only some projects have, those that are there; each run and export is one.
    """
    several = {"runs": project.runs(), "exports": project.exports()}
    states = []
    for name, spec in FOLDERS.items():
        if spec.receipt and (spec.always or project.path(name).is_dir()):
            parts = [f"{name}/{part}" for part in several.get(name, ())]
            states += [_state(project, folder) for folder in parts or [name]]
    return states


def next_command(states: list[FolderState]) -> str:
    """The command to run now. Of the runs and of the exports the newest counts."""
    newest: dict[str, tuple[str, str]] = {}
    for row in states:
        name, _, part = row.folder.partition("/")
        if FOLDERS[name].always:
            newest[name] = part, row.state
    for name, (part, state) in newest.items():
        if state == "unfinished" and FOLDERS[name].resume:
            return FOLDERS[name].resume
        if state != "ready":
            return FOLDERS[name].command
        if name == "runs" and f"exports/{part}" not in {row.folder for row in states}:
            return FOLDERS["exports"].command
    return 'unidiff generate "red dress", unidiff retrieve QUERY.jpg'


def _state(project: Project, folder: str) -> FolderState:
    path, current = project.path(folder), project.current_export()
    receipt = Receipt.read(path)
    if receipt is None:
        begun = path.is_dir() and any(path.iterdir())
        contents = _progress(path) if folder.startswith("runs/") else ""
        return FolderState(folder, "unfinished" if begun else "missing", contents)
    changed = [
        name for name, digest in receipt.inputs.items() if _hash(project.path(name)) != digest
    ]
    if changed:
        return FolderState(folder, "stale", f"{' and '.join(changed)} changed since")
    export = receipt.settings.get("export")
    if export and current and export != current:
        return FolderState(folder, "stale", f"of {export}, and {current} is the current export")
    counts = receipt.counts.items()
    contents = ", ".join(f"{v:,} {k}" for k, v in counts if isinstance(v, int) and v)
    mark = " (current)" if folder == f"exports/{current}" else ""
    return FolderState(folder, "ready", contents + mark)


def _hash(path: Path) -> str:
    receipt = Receipt.read(path)
    return receipt.hash if receipt else ""


def _progress(run: Path) -> str:
    steps = sorted((p.name for p in (run / "checkpoints").glob("step-*")), key=by_number)
    return f"last checkpoint {steps[-1]}" if steps else "no checkpoint yet"
