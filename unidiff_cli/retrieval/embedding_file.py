"""Embeddings in a safetensors file that is mapped: nothing is read before it is searched."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from unidiff_cli.errors import Damaged
from unidiff_cli.system import first_line

FILE = "embeddings.safetensors"
NAME = "embeddings"


def write_embeddings(folder: Path, embeddings: np.ndarray) -> None:
    """Writes embeddings (N, D), float32, into a folder."""
    save_file({NAME: np.ascontiguousarray(embeddings, np.float32)}, folder / FILE)


def map_embeddings(folder: Path) -> np.ndarray:
    """The embeddings (N, D) that `write_embeddings` wrote. Raises Damaged for any other file."""
    try:
        return _mapped(folder / FILE)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as problem:
        raise Damaged(
            f"{folder / FILE} is not what was written: {first_line(problem)}.",
            "Run: unidiff index --force",
        ) from problem


def _mapped(file: Path) -> np.ndarray:
    with open(file, "rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        if not 0 < size < file.stat().st_size:
            raise ValueError("it has no header")
        entry = json.loads(stream.read(size))[NAME]
    shape, (first, last) = tuple(entry["shape"]), entry["data_offsets"]
    if entry["dtype"] != "F32" or len(shape) != 2:
        raise ValueError(f"{len(shape)} dimensions of {entry['dtype']}")
    if 8 + size + last != file.stat().st_size or last - first != 4 * shape[0] * shape[1]:
        raise ValueError("it has another size than its header says")
    if not last - first:
        return np.zeros(shape, np.float32)
    return np.memmap(file, np.float32, "r", 8 + size + first, shape)
