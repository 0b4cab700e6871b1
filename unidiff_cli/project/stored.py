"""What a project brings to its storage and from there: whole folders, and runs as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unidiff_cli.errors import Damaged, WorkError
from unidiff_cli.project import checkpoints, run_log
from unidiff_cli.project.files import delete_unfinished_files, refuse_foreign
from unidiff_cli.project.folders import FOLDERS, PREVIOUS_INDEX
from unidiff_cli.project.receipt import (
    NO_RECEIPT,
    RECEIPT,
    Receipt,
    damage_of,
    is_closed,
    record_of,
)
from unidiff_cli.project.storage import MAKE_AGAIN, Contents, Storage

# The folder of runs, and the file that says what a run began with: another one is another run.
RUNS, BEGAN = "runs", "began.json"
# What a run needs to go on, beside its checkpoints.
OF_RUN = ("recipe.yaml", BEGAN, run_log.FILE)


def contents_of(folder: Path) -> Contents | None:
    """What is to be stored of a folder; None where it is neither finished nor a run that began.

    Raises Damaged.
    """
    receipt = Receipt.read(folder)
    if receipt is None:
        return _of_run(folder) if (folder / BEGAN).is_file() else None
    # What a run prints may grow meanwhile.
    changing = [] if (folder / BEGAN).is_file() else receipt.changing
    there = [name for name in changing if (folder / name).is_file()]
    others = {name: record_of(folder / name) for name in (*there, RECEIPT)}
    return Contents({**receipt.files, **others}, receipt.finished)


def _of_run(folder: Path) -> Contents:
    """A run that is not finished: its checkpoints as they are now, and what they go with."""
    below = folder / "checkpoints"
    files = {name: record_of(folder / name) for name in OF_RUN if (folder / name).is_file()}
    for name, sha256 in checkpoints.digests(below).items():
        files[f"checkpoints/{name}"] = record_of(below / name, sha256)
    for checkpoint in checkpoints.all_of(below):
        name = f"checkpoints/{checkpoint.name}/{checkpoints.STATE}"
        files[name] = record_of(folder / name)
    return Contents(files)


def keep(
    storage: Storage,
    root: Path,
    names: tuple[str, ...],
    older: bool = False,
    again: bool = False,
) -> None:
    """Stores a folder of a project as it is now; see `Storage.keep`."""
    contents, is_run = contents_of(root.joinpath(*names)), names[0] == RUNS
    if contents:
        storage.keep(
            "/".join(names),
            root.joinpath(*names),
            contents,
            same=BEGAN if is_run else "",
            # Checkpoints that are deleted here are deleted there.
            tidy=is_run,
            older=older,
            again=again,
        )


def lacking(storage: Storage, root: Path, names: tuple[str, ...]) -> Contents | None:
    """What is stored of a folder that is not finished here; None where that is no more of it.

    Raises WorkError where another run of that name is here.
    """
    folder = root.joinpath(*names)
    contents = None if is_closed(folder) else storage.contents("/".join(names))
    if contents is None or names[0] != RUNS or not (folder / BEGAN).is_file():
        return contents
    if damage_of(folder / BEGAN, contents.files[BEGAN]):
        raise WorkError(
            f"{storage.address_of(*names)} is another run than {folder}.",
            f"Nothing was changed. To take the one that is stored, move {folder} elsewhere.",
        )
    return contents if _is_ahead(contents, folder) else None


def bring(
    storage: Storage, root: Path, names: tuple[str, ...], contents: Contents, streamed: str = ""
) -> None:
    """Fetches a stored folder, without the files that end in `streamed`.

    Raises WorkError where the folder holds what is not ours, Damaged and EnvironmentProblem.
    """
    folder = root.joinpath(*names)
    if names[0] != RUNS and folder.is_dir():
        delete_unfinished_files(folder)
        refuse_foreign(folder, lambda _: contents.files)
    storage.fetch("/".join(names), folder, contents, streamed)


def receipt_of(storage: Storage, names: tuple[str, ...]) -> Receipt | None:
    """The receipt of a stored folder; None where none is finished. Raises Damaged."""
    name = "/".join(names)
    contents = storage.contents(name)
    record = contents.files.get(RECEIPT) if contents else None
    if record is None:
        return None
    try:
        return Receipt.parse(storage.read(name, RECEIPT, record, 0, record.size))
    except NO_RECEIPT as problem:
        place = storage.file_address(name, RECEIPT, record)
        raise Damaged(f"{place} is not what was stored.", MAKE_AGAIN) from problem


def _is_ahead(contents: Contents, run: Path) -> bool:
    """Whether more of a run is stored than is here."""
    stored = [name.split("/")[1] for name in contents.files if name.endswith(checkpoints.STATE)]
    here = checkpoints.committed(run / "checkpoints")
    steps = [int(name.rpartition("-")[2]) for name in stored if name.startswith("step-")]
    newest = int(here[-1].name.rpartition("-")[2]) if here else -1
    return bool(contents.finished) or max(steps, default=0) > newest


def is_partial(root: Path, names: tuple[str, ...]) -> bool:
    """Whether files of a finished folder lie at the storage alone."""
    streamed, receipt = FOLDERS[names[0]].streamed, Receipt.read(root.joinpath(*names))
    if not streamed or receipt is None:
        return False
    files = [name for name in receipt.files if name.endswith(streamed)]
    return not all(root.joinpath(*names, name).exists() for name in files)


def folders_there(storage: Storage, root: Path) -> list[dict[str, Any]]:
    """What is stored of a project: each folder, its bytes, and how much of it is here."""
    rows: list[dict[str, Any]] = []
    for name, spec in FOLDERS.items():
        if not spec.receipt:
            continue
        below = [f"{name}/{each}" for each in storage.folders(name)] if spec.several else [name]
        for folder in below:
            if contents := storage.contents(folder):
                names = tuple(folder.split("/"))
                here = _here(contents, root, names)
                size = sum(record.size for record in contents.files.values())
                rows.append({"folder": folder, "bytes": size, "here": here})
    return rows


def _here(contents: Contents, root: Path, names: tuple[str, ...]) -> str:
    """How much of a stored folder is here, in a word or two."""
    folder = root.joinpath(*names)
    try:
        own = contents_of(folder)
    except Damaged:
        return "damaged"
    if own is None:
        return "no"
    if own != contents:
        return "another"
    return "all but its tars" if is_partial(root, names) else "yes"


def folders_here(root: Path) -> list[tuple[str, ...]]:
    """The folders of a project that can be stored, in the order of the work."""
    places: list[Path] = []
    for name, spec in FOLDERS.items():
        # A step back is taken where the step was made.
        if spec.receipt and name != PREVIOUS_INDEX:
            below = sorted((root / name).glob("*/")) if spec.several else [root / name]
            places += [place for place in below if not place.name.startswith(".")]
            # An export in another format stands one folder deeper.
            places += sorted((root / name).glob("[!.]*/[!.]*/")) if name == "exports" else []
    closed = (p for p in places if is_closed(p) or (p / BEGAN).is_file())
    return [place.relative_to(root).parts for place in closed]
