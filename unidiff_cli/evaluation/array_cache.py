"""TODO docstring."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unidiff_cli import __version__
from unidiff_cli.project.files import atomic_file, digest

if TYPE_CHECKING:
    pass


SCHEMA = 2  # of what is kept: raised when a version makes anything kept otherwise than it did
CHUNK = 64  # drawn images kept at a time


@dataclass
class ArrayCache:
    """Arrays in a folder of the cache; without a folder nothing is kept. A file that is not whole is made again."""

    folder: Path | None

    def array(self, name: str, depends: Any, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The array of that name made from `depends` (anything JSON can hold), from the folder or anew."""
        if self.folder is None:
            return make()
        path = self._path(name, depends)
        found = _whole(path)
        if found is None:
            made = make()
            return self._put(path, made.dtype, made.shape, [made])
        return found

    def rows(
        self, name: str, depends: Any, count: int, make: Callable[[int, int], np.ndarray]
    ) -> np.ndarray:
        """The same of `make(start, stop)` for `count` rows, CHUNK at a time: no more are in memory, or lost by a kill."""
        starts = range(0, count, CHUNK)
        if self.folder is None:
            return np.concatenate([make(start, min(start + CHUNK, count)) for start in starts])
        path = self._path(name, depends)
        found = _whole(path)
        if found is None:

            def part(start: int) -> np.ndarray:
                return self.array(
                    f"{name}-{start}", depends, partial(make, start, min(start + CHUNK, count))
                )

            first = part(0)
            found = self._put(path, first.dtype, (count, *first.shape[1:]), map(part, starts))
            for start in starts:
                self._path(f"{name}-{start}", depends).unlink(missing_ok=True)
        return found

    def _path(self, name: str, depends: Any) -> Path:
        assert self.folder is not None
        return self.folder / f"{name}-{digest([SCHEMA, __version__, depends])}.npy"

    def _put(
        self, path: Path, dtype: np.dtype, shape: tuple[int, ...], parts: Iterable[np.ndarray]
    ) -> np.ndarray:
        """Writes an array's rows, part after part, and gives it back, mapped."""
        header = {
            "descr": np.lib.format.dtype_to_descr(dtype),
            "fortran_order": False,
            "shape": shape,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as beside, open(beside, "wb") as stream:
            np.lib.format.write_array_header_1_0(stream, header)
            for part in parts:
                np.ascontiguousarray(part).tofile(stream)
        return np.load(path, mmap_mode="r", allow_pickle=False)


def _whole(path: Path) -> np.ndarray | None:
    """The array in a file, mapped; None where there is none, or not all of it."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
