"""The retrieval index: one unit vector a picture of the catalogue, bound to the model that made it.

Exact search by one matrix product; up to a million pictures it needs no approximation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image

from . import bases
from .batches import picture
from .clip import Clip
from .errors import NotReady, UsageError
from .project import Project
from .shards import Row, Shards

FILE = "vectors.safetensors"
Progress = Callable[[int, int], None]
By = Literal["clip", "diffdis"]  # what makes a picture's vector


@torch.no_grad()
def embed_pictures(
    clip: Clip, shards: Shards, rows: Sequence[Row], batch_size: int = 64, on_progress: Progress | None = None,
    by: By = "clip",
) -> np.ndarray:  # fmt: skip
    """Unit vectors of the rows' pictures, float32 (N, D), by CLIP or by a base's DiffDis."""
    found = []
    for start in range(0, len(rows), batch_size):
        some = [picture(shards, row) for row in rows[start : start + batch_size]]
        found.append(clip.embed(some, by).cpu().numpy())
        if on_progress:
            on_progress(min(start + batch_size, len(rows)), len(rows))
    return np.concatenate(found) if found else np.zeros((0, clip.dimension), np.float32)


@torch.no_grad()
def embed_image(clip: Clip, image: Image.Image, by: By = "clip") -> np.ndarray:
    """The unit vector (D,) of one picture."""
    return clip.embed([image], by)[0].cpu().numpy()


@torch.no_grad()
def embed_captions(clip: Clip, captions: Sequence[str], batch_size: int = 64) -> np.ndarray:
    """Unit vectors of captions, float32 (N, D)."""
    found = [
        clip.text(clip.tokenize(captions[start : start + batch_size]))[1].cpu().numpy()
        for start in range(0, len(captions), batch_size)
    ]
    return np.concatenate(found) if found else np.zeros((0, clip.dimension), np.float32)


def write(folder: Path, **vectors: np.ndarray) -> None:
    """Writes the vectors, by what made them; the rows they belong to are the shards' rows, in order."""
    from safetensors.numpy import save_file

    save_file({by: np.ascontiguousarray(found) for by, found in vectors.items()}, folder / FILE)


def read(folder: Path, by: By = "clip") -> np.ndarray:
    """The vectors, float32 (N, D). Raises UsageError where the export has no DiffDis."""
    from safetensors.numpy import load_file

    found = load_file(folder / FILE)
    if by not in found:
        raise UsageError(
            "The indexed export has no DiffDis layers.", "Train them first: unidiff train --recipe diffdis"
        )
    return found[by]


def ways(folder: Path) -> list[By]:
    """What an export makes a picture's vector with."""
    return ["clip", "diffdis"] if (folder / bases.DUAL_STREAM).is_dir() else ["clip"]


def model(project: Project, folder: Path, by: By | None = None) -> Clip:
    """An export's CLIP; the whole base where it also finds, or is asked to find, by DiffDis."""
    if (by or ways(folder)[-1]) == "clip":
        return Clip.read(folder / "clip")
    size = project.receipt("exports", folder.name).settings["image_size"]
    return bases.load(str(folder), size)


def search(vectors: np.ndarray, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest rows of a unit query (D,) and their cosines, best first; ties by row number."""
    scores = vectors @ query
    k = min(k, len(scores))
    near = np.argpartition(-scores, k - 1)[:k] if k < len(scores) else np.arange(len(scores))
    near = near[np.lexsort((near, -scores[near]))]
    return near, scores[near]


def inputs(project: Project, export: str | None) -> tuple[Path, dict[str, str]]:
    """The export's folder and the hashes an index of it must be bound to."""
    shards = project.receipt("shards", command="unidiff prepare CATALOG")
    folder = project.export(export)
    return folder, {
        "shards": shards.hash,
        f"exports/{folder.name}": project.receipt("exports", folder.name).hash,
    }


def fresh(project: Project, export: str | None) -> Path:
    """The folder of the export the index was built with. Raises NotReady for an index of another model or catalogue."""
    folder, now = inputs(project, export)
    receipt = project.receipt("index", command="unidiff index")
    command = "unidiff index" + (f" --export {export}" if export else "")
    if receipt.settings["export"] != folder.name:
        raise NotReady(
            f"The index was built with {receipt.settings['export']}, not with {folder.name}.",
            f"Run: {command}",
        )
    if receipt.inputs != now:
        changed = " and ".join(k for k in now if receipt.inputs.get(k) != now[k])
        raise NotReady(f"The index is stale: {changed} changed since it was built.", f"Run: {command}")
    return folder
