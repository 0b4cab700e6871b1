"""Rows of arrays in a folder of the cache, each found by a key: a sha256 of what it was made of.

Rows lie in packs of two sealed files: `NAME.npy` holds the rows, and `NAME.keys.npy`, which is
written last, a key for each. A pack is only ever added whole. So a kill costs no more than the pack
that was being filled, and several processes may fill a store at a time. A damaged pack counts as
missing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unidiff_cli.project.arrays import open_array, seal_array
from unidiff_cli.project.files import atomic_file, delete_unfinished_files, make_folder

if TYPE_CHECKING:
    import numpy as np

KEYS, ROWS = ".keys.npy", ".npy"
# Rows of a pack at most, and the packs with fewer that a store may hold before they are joined.
PACK, SMALL_PACKS = 1024, 64


def keys_of(digests: Iterable[str]) -> np.ndarray:
    """Keys (n,) of sha256 digests in hex."""
    import numpy as np

    size = hashlib.sha256().digest_size
    return np.fromiter((bytes.fromhex(digest) for digest in digests), f"S{size}")


class RowStore:
    """The rows of a folder as they were when it was opened. Loader processes may be given one."""

    def __init__(self, folder: Path, *, checked: bool = True) -> None:
        """`checked` reads every byte once; without it another process has just done so."""
        import numpy as np

        self.folder, self._checked = folder, checked
        self._packs: list[Path] = []
        self._maps: dict[int, np.ndarray] = {}
        keys, packs, rows = [keys_of([])], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for file in sorted(folder.glob(f"*{KEYS}")):
            pack = file.with_name(file.name.removesuffix(KEYS) + ROWS)
            own, there = open_array(file), self._opened(pack)
            if own is None or there is None or len(own) != len(there):
                continue
            keys.append(own)
            packs.append(np.full(len(own), len(self._packs)))
            rows.append(np.arange(len(own)))
            self._packs.append(pack)
        # Sorted; of a key in two packs one is taken.
        self._keys, first = np.unique(np.concatenate(keys), return_index=True)
        self._pack, self._row = np.concatenate(packs)[first], np.concatenate(rows)[first]

    def __len__(self) -> int:
        return len(self._keys)

    def __getstate__(self) -> dict[str, Any]:
        # A loader process maps the files itself.
        return {**vars(self), "_maps": {}}

    def places(self, keys: np.ndarray) -> np.ndarray:
        """Where the rows of keys are, int64 (n,), for `take`; -1: not here."""
        import numpy as np

        if not len(self):
            return np.full(len(keys), -1)
        places = np.searchsorted(self._keys, keys)
        places[places == len(self)] = 0
        return np.where(self._keys[places] == keys, places, -1)

    def take(self, places: Sequence[int] | np.ndarray) -> np.ndarray:
        """The rows (n, …) at places of `places`. Raises IndexError for -1."""
        import numpy as np

        places = np.asarray(places, np.int64)
        if len(places) and places.min() < 0:
            raise IndexError("A row that is not in the store was asked for.")
        packs, rows = self._pack[places], self._row[places]
        like = self._map(int(packs[0]) if len(packs) else 0)
        taken = np.empty((len(places), *like.shape[1:]), like.dtype)
        for pack in np.unique(packs):
            here = packs == pack
            taken[here] = self._map(int(pack))[rows[here]]
        return taken

    def _map(self, pack: int) -> np.ndarray:
        if pack not in self._maps:
            opened = self._opened(self._packs[pack])
            if opened is None:
                raise FileNotFoundError(f"{self._packs[pack]} is no longer what it was.")
            self._maps[pack] = opened
        return self._maps[pack]

    def _opened(self, file: Path) -> np.ndarray | None:
        import numpy as np

        if self._checked:
            return open_array(file)
        try:
            return np.load(file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None

    def tidy(self, live: np.ndarray) -> None:
        """Writes packs anew where the rows of keys other than `live` outnumber theirs, or many
        packs are small; and deletes what is damaged or half a pack.

        No other process may use the store meanwhile.
        """
        import numpy as np

        used = np.isin(self._keys, live)
        sizes = np.bincount(self._pack, minlength=len(self._packs))
        alive = np.bincount(self._pack[used], minlength=len(self._packs))
        small = sizes < PACK // 2
        anew = np.zeros(len(self._packs), bool)
        if (~used).sum() > max(used.sum(), PACK):
            anew |= alive < sizes
        else:
            used[:] = True
        if small.sum() > SMALL_PACKS:
            anew |= small
        kept = {self._packs[pack] for pack in np.flatnonzero(~anew)}
        moved = np.flatnonzero(used & anew[self._pack])
        for start in range(0, len(moved), PACK):
            part = moved[start : start + PACK]
            kept.add(write_pack(self.folder, self._keys[part], self.take(part)))
        self._delete_others(kept)

    def _delete_others(self, kept: set[Path]) -> None:
        """Deletes every file of the folder but these packs."""
        names = {file.name.removesuffix(ROWS) for file in kept}
        delete_unfinished_files(self.folder)
        for file in self.folder.glob(f"*{ROWS}"):
            if file.name.removesuffix(KEYS).removesuffix(ROWS) not in names:
                file.unlink(missing_ok=True)


def write_pack(folder: Path, keys: np.ndarray, rows: np.ndarray) -> Path:
    """Adds rows (n, …) and their keys to the store in a folder; returns the file of the rows.

    Raises OSError on a full disk.
    """
    make_folder(folder)
    name = hashlib.sha256(keys.tobytes()).hexdigest()[:32]
    file = folder / f"{name}{ROWS}"
    _write(file, rows)
    _write(folder / f"{name}{KEYS}", keys)
    return file


def _write(file: Path, array: np.ndarray) -> None:
    import numpy as np

    with atomic_file(file) as beside, open(beside, "wb") as stream:
        np.save(stream, array)
        stream.flush()
        seal_array(beside)
