"""Checkpoints of a run: safetensors and one readable JSON, replaced whole, verified before use.

    checkpoints/step-000500/  state.json  and one .safetensors per group of tensors:
                              weights, averaged: the model's
                              heads, averaged_heads: the objectives' own layers, never exported
                              optimizer: the moments of both
    checkpoints/best/         state.json  averaged.safetensors
    checkpoints/base/         state.json  embeds: the base's, for the collapse meters

`state.json` is written last and holds the sha256 of the others and of itself: a folder without it,
or whose files differ, is no checkpoint. The oldest are deleted once the newest is in place.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidiff_cli import machine
from unidiff_cli.errors import Damaged, EnvironmentProblem
from unidiff_cli.project import files
from unidiff_cli.project.files import (
    atomic_folder,
    delete_folder,
    digest,
    file_digest,
    sync_below,
    write_json,
)
from unidiff_cli.project.numbered import by_number
from unidiff_cli.system import FULL, disk_problem, system_error

if TYPE_CHECKING:
    from torch import Tensor

STATE = "state.json"
BEST = "best"


def save(
    folder: Path, name: str, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]
) -> Path:
    """Writes one checkpoint whole. Raises EnvironmentProblem where the disk cannot; others stay."""
    from safetensors.torch import save_file

    size = sum(x.numel() * x.element_size() for named in tensors.values() for x in named.values())
    if size > (free := machine.free_bytes(folder)):
        raise _too_large(folder, name, size, free)
    try:
        with atomic_folder(folder / name, listing) as fresh:
            for group, named in tensors.items():
                save_file(_plain(named), fresh / f"{group}.safetensors")
            digests = {p.name: file_digest(p) for p in sorted(fresh.glob("*.safetensors"))}
            # They lie on the disk before the file that names them.
            sync_below(fresh)
            contents = {**state, "files": digests}
            write_json(fresh / STATE, {**contents, "digest": digest(contents)})
    except Exception as problem:
        # safetensors wraps the disk's error in its own class.
        error = system_error(problem)
        if error is None:
            raise
        if error.errno not in FULL:
            what = f"Checkpoint {name} of {folder.parent.name}"
            raise disk_problem(error, what, "Then: unidiff train --resume") from problem
        raise _too_large(folder, name, size, machine.free_bytes(folder)) from problem
    return folder / name


def _too_large(folder: Path, name: str, size: int, free: int) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"Checkpoint {name} ({size / 1e6:,.0f} MB) does not fit on the disk of {folder}: "
        f"{free / 1e6:,.0f} MB are free.",
        "Free some space, then: unidiff train --resume",
    )


def _plain(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as a file holds them, each alone in its memory.

    A copy is made only where one lies on another device, in another order, or shares its memory: a
    copy of all that trains would decide how much memory a machine needs.
    """
    plain: dict[str, Tensor] = {}
    places: set[int] = set()
    for key, tensor in named.items():
        x = tensor.detach().cpu().contiguous()
        storage = x.untyped_storage()
        if storage.nbytes() != x.numel() * x.element_size() or storage.data_ptr() in places:
            x = x.clone()
        places.add(x.untyped_storage().data_ptr())
        plain[key] = x
    return plain


def recover(folder: Path) -> None:
    """Finishes the swap of a checkpoint whose writer was killed: `best`, or a step saved again."""
    files.recover(folder, listing)


def listing(checkpoint: Path) -> Collection[str] | None:
    """The files of a checkpoint, its state the last; None where it was not written to the end.

    Of one whose state is damaged, or lost once the folder was in place, all that have a name of
    ours: the weights in it are of no use.
    """
    if checkpoint.name.endswith(files.NEW) and not (checkpoint / STATE).is_file():
        return None
    names = _written(checkpoint) or [file.name for file in checkpoint.glob("*.safetensors")]
    return [*names, STATE]


def _written(checkpoint: Path) -> dict[str, str]:
    """The sha256 of a checkpoint's files by its state; none where that cannot be read."""
    try:
        return dict(json.loads((checkpoint / STATE).read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def digests(folder: Path) -> dict[str, str]:
    """The sha256 of every file of the checkpoints as it was written, by its path in `folder`."""
    return {
        f"{checkpoint.name}/{name}": sha256
        for checkpoint in all_of(folder)
        for name, sha256 in _written(checkpoint).items()
        if (checkpoint / name).is_file()
    }


def step_name(step: int) -> str:
    """The name of a step's checkpoint."""
    return f"step-{step:06d}"


def committed(folder: Path) -> list[Path]:
    """The step checkpoints that were written to the end, oldest first."""
    return [checkpoint for checkpoint in written(folder) if (checkpoint / STATE).is_file()]


def written(folder: Path) -> list[Path]:
    """The step checkpoints that were ever written, whatever became of their files, oldest first."""
    checkpoints = (path for path in folder.glob("step-*") if path.is_dir())
    return sorted(checkpoints, key=lambda checkpoint: by_number(checkpoint.name))


def verified(checkpoint: Path) -> dict[str, Any]:
    """A checkpoint's state. Raises Damaged where a file is missing or not what was written."""
    try:
        state = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
        if state.pop("digest") != digest(state):
            wrong = [STATE]
        else:
            wrong = [n for n, sha in state["files"].items() if file_digest(checkpoint / n) != sha]
    except OSError as problem:
        raise Damaged(f"{checkpoint} is not a whole checkpoint: {problem}.") from problem
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        wrong = [STATE]
    if wrong:
        raise Damaged(f"{checkpoint}/{wrong[0]} is not what was written.")
    return state


def latest(folder: Path) -> Iterator[tuple[Path, dict[str, Any] | Damaged]]:
    """Checkpoints from the newest back, each with its state or with what is wrong with it."""
    recover(folder)
    for checkpoint in reversed(written(folder)):
        try:
            yield checkpoint, verified(checkpoint)
        except Damaged as problem:
            yield checkpoint, problem


def all_of(folder: Path) -> list[Path]:
    """The step checkpoints, oldest first, and what else was saved beside them, such as `best`."""
    steps = committed(folder)
    others = sorted(state.parent for state in folder.glob(f"[!.]*/{STATE}"))
    return steps + [checkpoint for checkpoint in others if checkpoint not in steps]


def whole_files(folder: Path) -> list[str]:
    """The files of all checkpoints that are what was written, by their paths in `folder`."""
    written = digests(folder).items()
    return [name for name, sha256 in written if file_digest(folder / name) == sha256]


def tensors(checkpoint: Path, group: str) -> dict[str, Tensor]:
    """One group of a checkpoint's tensors by parameter name, such as `averaged`."""
    from safetensors.torch import load_file

    return load_file(checkpoint / f"{group}.safetensors")


def prune(folder: Path, keep: int) -> None:
    """Deletes all but the newest `keep` step checkpoints."""
    for checkpoint in committed(folder)[:-keep]:
        delete_folder(checkpoint, listing)
