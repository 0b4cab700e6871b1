"""Embeddings in a safetensors file that is mapped: nothing is read before it is searched.

They are computed into such a file, too, so that the memory of `index` does not grow with them.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from unidiff_cli.errors import Damaged
from unidiff_cli.system import first_line

FILE = "embeddings.safetensors"
NAME = "embeddings"


def new_embeddings(file: Path, count: int, size: int) -> np.ndarray:
    """A new file of zeros (count, size), float32, that is mapped: who fills it writes the file.

    Raises OSError where the disk has no room for all of it.
    """
    length = 4 * count * size
    entry = {"dtype": "F32", "shape": [count, size], "data_offsets": [0, length]}
    header = json.dumps({NAME: entry}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    with open(file, "wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header)
        stream.flush()
        _allocate(stream.fileno(), stream.tell(), length)
    if not length:
        return np.zeros((count, size), np.float32)
    return np.memmap(file, np.float32, "r+", 8 + len(header), (count, size))


def _allocate(descriptor: int, start: int, length: int) -> None:
    """Takes the room of a file now: a mapped page without any ends the process, without a word."""
    try:
        if length:
            os.posix_fallocate(descriptor, start, length)
        return
    except AttributeError:
        # macOS has no such call.
        pass
    except OSError as problem:
        # Some C libraries have it for some disks only.
        if problem.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise
    block = bytes(1 << 20)
    while length:
        length -= os.write(descriptor, block[: min(length, len(block))])


def write_embeddings(folder: Path, embeddings: np.ndarray) -> None:
    """Writes embeddings (N, D), float32, into a folder.

    Those of a whole file that `new_embeddings` made are linked, where the disk can link.
    """
    if not _link(embeddings, folder / FILE):
        save_file({NAME: np.ascontiguousarray(embeddings, np.float32)}, folder / FILE)


def _link(embeddings: np.ndarray, file: Path) -> bool:
    """Whether a file of these very embeddings was there, and could be linked."""
    source = getattr(embeddings, "filename", None)
    if not isinstance(embeddings, np.memmap) or source is None:
        return False
    try:
        # A part of the rows has the file's name too.
        if _mapped(Path(source)).shape != embeddings.shape:
            return False
        embeddings.flush()
        os.link(source, file)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return True


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
