"""Where a project stands: the state of each folder, and the command that comes next."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unidiff_cli.errors import Damaged
from unidiff_cli.project import checkpoints
from unidiff_cli.project.folders import FOLDERS, PREVIOUS_INDEX
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt


@dataclass(frozen=True)
class FolderState:
    """One folder of a project: how far its stage came, and what it holds or why it is stale.

    One that is "stored" lies at the storage, and is fetched when a command reads it.
    """

    folder: str
    state: Literal["missing", "unfinished", "damaged", "stale", "stored", "ready"]
    contents: str = ""


def folders(project: Project) -> list[FolderState]:
    """The state of every folder that a stage closes, in the order of the work.

    Of the folders that only some projects have, those that are there; each run and export is one.
    """
    several = {"runs": project.runs(), "exports": project.exports()}
    states = []
    for name, spec in FOLDERS.items():
        if spec.receipt and (spec.always or _is_begun(project, name)):
            parts = [f"{name}/{part}" for part in several.get(name, ())]
            states += [_state(project, folder) for folder in parts or [name]]
    return states


def rolled_back(project: Project, index: Receipt) -> bool:
    """Whether an index of another export stands where that of the current one was before."""
    try:
        previous = Receipt.read(project.path(PREVIOUS_INDEX))
    except Damaged:
        return False
    current = project.current_export()
    return (
        previous is not None
        and previous.settings.get("export") == current
        and index.settings.get("export") != current
    )


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
        if state not in ("ready", "stored"):
            return FOLDERS[name].command
        if name == "runs" and f"exports/{part}" not in {row.folder for row in states}:
            return FOLDERS["exports"].command
    return 'unidiff generate "red dress", unidiff retrieve QUERY.jpg'


def _state(project: Project, folder: str) -> FolderState:
    path, current = project.path(folder), project.current_export()
    try:
        receipt = Receipt.read(path)
        if receipt:
            # Sizes only: `unidiff verify` reads every byte.
            names = folder.split("/")
            apart, streamed = FOLDERS[names[0]].apart, project.streamed(*names)
            receipt.check(path, apart=apart, streamed=streamed)
    except Damaged as damage:
        return FolderState(folder, "damaged", damage.fact)
    if receipt is None:
        there = project.storage.contents(folder) if project.storage else None
        if project.storage and there and there.finished:
            return FolderState(folder, "stored", project.storage.address_of(folder))
        begun = _is_begun(project, folder) or there is not None
        contents = _progress(path) if folder.startswith("runs/") else ""
        return FolderState(folder, "unfinished" if begun else "missing", contents)
    changed = [
        name for name, digest in receipt.inputs.items() if _hash(project.path(name)) != digest
    ]
    if changed:
        return FolderState(folder, "stale", f"{' and '.join(changed)} changed since")
    export = receipt.settings.get("export")
    back = folder == "index" and rolled_back(project, receipt)
    of_another = export and current and export != current
    if of_another and not back and folder != PREVIOUS_INDEX:
        return FolderState(folder, "stale", f"of {export}, and {current} is the current export")
    counts = receipt.counts.items()
    contents = ", ".join(
        f"{v:,} {k.replace('_', ' ')}" for k, v in counts if isinstance(v, int) and v
    )
    mark = " (current)" if folder == f"exports/{current}" else ""
    if folder == PREVIOUS_INDEX or back:
        mark = f" of {export} ({'rolled back' if back else 'unidiff index --rollback'})"
    return FolderState(folder, "ready", contents + mark)


def _is_begun(project: Project, folder: str) -> bool:
    """Whether a folder holds anything, or the folder of its unfinished work is there."""
    begun = FOLDERS[folder].begun if folder in FOLDERS else ""
    path = project.path(folder)
    visible = path.is_dir() and any(not p.name.startswith(".") for p in path.iterdir())
    return visible or bool(begun and project.path(begun).is_dir())


def _hash(path: Path) -> str:
    try:
        receipt = Receipt.read(path)
    except Damaged:
        return ""
    return receipt.hash if receipt else ""


def _progress(run: Path) -> str:
    steps = checkpoints.committed(run / "checkpoints")
    return f"last checkpoint {steps[-1].name}" if steps else "no checkpoint yet"
