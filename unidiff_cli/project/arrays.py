"""Arrays in safetensors files of ours, read so that a damaged file is a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unidiff_cli.errors import Damaged
from unidiff_cli.system import first_line

if TYPE_CHECKING:
    import numpy as np


def read_arrays(file: Path, remake: str) -> dict[str, np.ndarray]:
    """The arrays of a file. Raises Damaged with the command that makes it again.

    Headers are the library's to check: it raises a class of its own, numpy's and KeyError.
    """
    from safetensors.numpy import load_file

    try:
        return load_file(file)
    except Exception as problem:
        raise Damaged(f"{file} is not what was written: {first_line(problem)}.", remake) from (
            problem
        )
