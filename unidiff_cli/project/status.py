"""Where a project stands: each room's state, and the command that comes next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt

COMMANDS = {
    "shards": "unidiff prepare CATALOG",
    "runs": "unidiff train",
    "exports": "unidiff export",
    "index": "unidiff index",
    "report": "unidiff evaluate",
}
ASKED = (
    "comparison",
    "folds",
    "ablation",
)  # which no next command makes: shown where somebody made them


def folders(project: Project) -> list[dict[str, Any]]:
    """One row a room, in the order of the work: its name, missing / unfinished / stale / ready, and what it holds.

    Of the rooms that only some projects have, those that are there.
    """
    rows = [_row(project, "shards")]
    rows += [_row(project, f"runs/{name}") for name in project.runs()] or [_row(project, "runs")]
    rows += [_row(project, f"exports/{name}") for name in project.exports()] or [
        _row(project, "exports")
    ]
    rows += [_row(project, "index"), _row(project, "report")]
    return [*rows, *(_row(project, room) for room in ASKED if project.path(room).is_dir())]


def _row(project: Project, room: str) -> dict[str, Any]:
    folder = project.path(room)
    receipt = Receipt.read(folder)
    if receipt is None:
        began = folder.is_dir() and any(folder.iterdir())
        holds = _progress(folder) if room.startswith("runs/") else ""
        return {"room": room, "state": "unfinished" if began else "missing", "holds": holds}
    changed = [
        name for name, digest in receipt.inputs.items() if _hash(project.path(name)) != digest
    ]
    holds = ", ".join(f"{v:,} {k}" for k, v in receipt.counts.items() if isinstance(v, int) and v)
    if changed:
        return {"room": room, "state": "stale", "holds": f"{' and '.join(changed)} changed since"}
    of, current = receipt.settings.get("export"), _current(project)
    if of and current and of != current:
        return {
            "room": room,
            "state": "stale",
            "holds": f"of {of}, and {current} is the current export",
        }
    mark = " (current)" if room == f"exports/{current}" else ""
    return {"room": room, "state": "ready", "holds": holds + mark}


def _hash(room: Path) -> str:
    receipt = Receipt.read(room)
    return receipt.hash if receipt else ""


def _progress(run: Path) -> str:
    done = sorted(p.name for p in (run / "checkpoints").glob("step-*"))
    return f"last checkpoint {done[-1]}" if done else "no checkpoint yet"


def _current(project: Project) -> str:
    pointer = project.path("exports", "current")
    return pointer.read_text(encoding="utf-8").strip() if pointer.is_file() else ""


def next_command(found: list[dict[str, Any]]) -> str:
    """What to run now."""
    newest: dict[str, tuple[str, str]] = {}
    for row in found:
        room, _, name = row["room"].partition("/")
        if room in COMMANDS:
            newest[room] = name, row["state"]
    for room, (_, state) in newest.items():
        if room == "runs" and state == "unfinished":
            return "unidiff train --resume"
        if state != "ready":
            return COMMANDS[room]
        if room == "runs" and f"exports/{newest['runs'][0]}" not in {row["room"] for row in found}:
            return COMMANDS["exports"]
    return 'unidiff generate "red dress", unidiff retrieve QUERY.jpg'
