"""The retrieval index: one unit vector an image of the catalogue, bound to the model that made it.

Exact search by one matrix product; up to a million images it needs no approximation.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from unidiff_cli.errors import NotReady, UsageError
from unidiff_cli.models.encoders import EncoderName
from unidiff_cli.project.project import Project

FILE = "vectors.safetensors"


def write(folder: Path, **vectors: np.ndarray) -> None:
    """Writes the vectors, by what made them; the rows they belong to are the shards' rows, in order."""
    from safetensors.numpy import save_file

    save_file({by: np.ascontiguousarray(found) for by, found in vectors.items()}, folder / FILE)


def read(folder: Path, by: EncoderName = "clip") -> np.ndarray:
    """The vectors, float32 (N, D). Raises UsageError where the export has no DiffDis."""
    from safetensors.numpy import load_file

    found = load_file(folder / FILE)
    if by not in found:
        raise UsageError(
            "The indexed export has no DiffDis layers.",
            "Train them first: unidiff train --recipe diffdis",
        )
    return found[by]


def search(vectors: np.ndarray, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest rows of a unit query (D,) and their cosines, best first; ties by row number."""
    scores = vectors @ query
    k = min(k, len(scores))
    near = np.argpartition(-scores, k - 1)[:k] if k < len(scores) else np.arange(len(scores))
    near = near[np.lexsort((near, -scores[near]))]
    return near, scores[near]


def inputs(project: Project, export: str | None) -> tuple[Path, dict[str, str]]:
    """The export's folder and the hashes an index of it must be bound to."""
    shards = project.receipt("shards")
    folder = project.export(export)
    return folder, {
        "shards": shards.hash,
        f"exports/{folder.name}": project.receipt("exports", folder.name).hash,
    }


def fresh(project: Project, export: str | None) -> Path:
    """The folder of the export the index was built with. Raises NotReady for an index of another model or catalogue."""
    folder, now = inputs(project, export)
    receipt = project.receipt("index")
    command = "unidiff index" + (f" --export {export}" if export else "")
    if receipt.settings["export"] != folder.name:
        raise NotReady(
            f"The index was built with {receipt.settings['export']}, not with {folder.name}.",
            f"Run: {command}",
        )
    if receipt.inputs != now:
        changed = " and ".join(k for k in now if receipt.inputs.get(k) != now[k])
        raise NotReady(
            f"The index is stale: {changed} changed since it was built.", f"Run: {command}"
        )
    return folder
