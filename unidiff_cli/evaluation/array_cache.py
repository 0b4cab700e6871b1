"""ArrayCache: arrays in files, named by what they depend on, so that none is computed twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from unidiff_cli import __version__
from unidiff_cli.project.arrays import open_array, seal_array
from unidiff_cli.project.files import atomic_file, digest, make_folder

# The version of what is stored: raise it when an array is computed in another way than before.
SCHEMA = 3
# Rows that are stored at a time.
CHUNK = 64


@dataclass(frozen=True)
class ArrayCache:
    """Arrays in a folder; without a folder nothing is stored.

    An array's file is named by its name and a hash of what it depends on. A file that is not whole
    is written again.
    """

    folder: Path | None = None

    def array(self, name: str, depends: Any, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The stored array of that name and `depends` (anything JSON can hold), or `make()`."""
        if self.folder is None:
            return make()
        path = self._path(self.folder, name, depends)
        stored = open_array(path)
        if stored is None:
            array = make()
            return _write(path, array.dtype, array.shape, [array])
        return stored

    def rows(
        self, name: str, depends: Any, count: int, make: Callable[[int, int], np.ndarray]
    ) -> np.ndarray:
        """The stored array of `count` rows, or those of `make(start, stop)`, CHUNK rows at a time.

        No more than a chunk is in memory, and no more is lost when the process is killed.
        """
        starts = range(0, count, CHUNK)
        if self.folder is None:
            return np.concatenate([make(start, min(start + CHUNK, count)) for start in starts])
        path = self._path(self.folder, name, depends)
        stored = open_array(path)
        if stored is None:

            def chunk(start: int) -> np.ndarray:
                return self.array(
                    f"{name}-{start}", depends, partial(make, start, min(start + CHUNK, count))
                )

            first = chunk(0)
            stored = _write(path, first.dtype, (count, *first.shape[1:]), map(chunk, starts))
            for start in starts:
                self._path(self.folder, f"{name}-{start}", depends).unlink(missing_ok=True)
        return stored

    @staticmethod
    def _path(folder: Path, name: str, depends: Any) -> Path:
        return folder / f"{name}-{digest([SCHEMA, __version__, depends])}.npy"


def _write(
    path: Path, dtype: np.dtype, shape: tuple[int, ...], parts: Iterable[np.ndarray]
) -> np.ndarray:
    """Writes an array's rows, part after part, and returns it memory-mapped."""
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    make_folder(path.parent)
    with atomic_file(path) as beside, open(beside, "wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for part in parts:
            np.ascontiguousarray(part).tofile(stream)
        stream.flush()
        seal_array(beside)
    return np.load(path, mmap_mode="r", allow_pickle=False)
