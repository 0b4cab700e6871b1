"""Verifying a project: every file of every finished folder against what its receipt lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from unidiff_cli.errors import Damaged, UsageError, nearest
from unidiff_cli.progress import Progress
from unidiff_cli.project import checkpoints
from unidiff_cli.project.arrays import open_array
from unidiff_cli.project.folders import FOLDERS
from unidiff_cli.project.project import Project
from unidiff_cli.project.receipt import Receipt, is_closed

CACHE = "cache"


@dataclass(frozen=True)
class Verified:
    """One folder of a project: how much of it was read, and what is wrong with it."""

    folder: str
    files: int
    bytes: int
    # Sentences, each naming a file.
    damage: list[str]
    # The command that makes the folder again; "" where nothing is wrong.
    remake: str


def verify(
    project: Project, names: Iterable[str] = (), on_progress: Progress | None = None
) -> list[Verified]:
    """Reads every byte of the named folders, by default of all, and compares their hashes.

    A name is a folder of the project such as `shards` or `runs/001-fashion`. Checkpoints of
    unfinished runs are compared with their own state. Raises UsageError for an unknown name.
    """
    known = list(_folders(project))
    chosen = [f for f in known if not names or any(_within(f, name.strip("/")) for name in names)]
    for name in names:
        if not any(_within(folder, name.strip("/")) for folder in known):
            there = ", ".join(known) or "none"
            raise UsageError(
                f"There is nothing to verify at '{name}'.{nearest(name, known)}",
                f"What can be verified: {there}.",
            )
    results = []
    for done, folder in enumerate(chosen):
        if on_progress:
            on_progress("verifying", done, len(chosen))
        results.append(_verified(project, folder))
    if on_progress:
        on_progress("verifying", len(chosen), len(chosen))
    return results


def _within(folder: str, name: str) -> bool:
    return folder == name or folder.startswith(f"{name}/")


def _folders(project: Project) -> Iterator[str]:
    """The folders that a receipt closes, and unfinished runs, in the order of the work."""
    for name, spec in FOLDERS.items():
        if name == CACHE and any(project.path(name).rglob("*.npy")):
            yield name
        if not spec.receipt:
            continue
        places = sorted(project.path(name).glob("*/")) if spec.several else [project.path(name)]
        # An export in another format stands one folder deeper.
        places += sorted(project.path(name).glob("*/*/")) if name == "exports" else []
        for place in places:
            # What a killed writer left beside a folder has a dot before its name.
            hidden = place.name.startswith(".")
            if not hidden and (is_closed(place) or (place / "checkpoints").is_dir()):
                yield place.relative_to(project.root).as_posix()


def _verified(project: Project, folder: str) -> Verified:
    if folder == CACHE:
        return _cache(project.path(CACHE))
    path, spec = project.path(folder), FOLDERS[folder.split("/")[0]]
    remake = f"{spec.command}{spec.redo}"
    try:
        receipt = Receipt.read(path)
    except Damaged as problem:
        return Verified(folder, 0, 0, [problem.fact], problem.action)
    if receipt is None:
        return _unfinished(folder, path, spec.resume)
    streamed = project.streamed(folder.split("/")[0])
    damage = [f"{file} {reason}." for file, reason in receipt.damage(path, streamed=streamed)]
    # What lies at the storage alone is not read: `unidiff shards verify` does.
    there = [n for n in receipt.files if streamed and n.endswith(streamed)]
    absent = {name for name in there if not (path / name).exists()}
    sizes = [record.size for name, record in receipt.files.items() if name not in absent]
    return Verified(folder, len(sizes), sum(sizes), damage, receipt.remake or remake)


def _cache(folder: Path) -> Verified:
    """The arrays of the cache, each of which vouches for itself."""
    files = sorted(folder.rglob("*.npy"))
    damage = [f"{file} is not what was written." for file in files if open_array(file) is None]
    size = sum(file.stat().st_size for file in files)
    return Verified(CACHE, len(files), size, damage, "any command that needs it")


def _unfinished(folder: str, run: Path, resume: str) -> Verified:
    """A run that goes on from its newest whole checkpoint."""
    damage, files, size = [], 0, 0
    for checkpoint in checkpoints.committed(run / "checkpoints"):
        inside = list(checkpoint.iterdir())
        files, size = files + len(inside), size + sum(file.stat().st_size for file in inside)
        try:
            checkpoints.verified(checkpoint)
        except Damaged as problem:
            damage.append(problem.fact)
    return Verified(folder, files, size, damage, resume)
