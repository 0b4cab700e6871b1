"""Items that lie in a file: memory holds where each is, and an item is made where it is asked for.

A catalogue's samples as objects are 4 kB each. Their records are read piece by piece, and not
mapped: the pages of a mapped file count as memory of the process.
"""

from __future__ import annotations

import json
import os
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from unidiff_cli.project.files import NEW

# Records that are read at a time where all are gone through, and bytes of one such read.
PIECE, MOST_READ = 256, 1 << 20

Item = TypeVar("Item")
Value = TypeVar("Value")
Ints = NDArray[np.intp]


class Codec(NamedTuple, Generic[Item]):
    """How an item is written: as values that JSON can hold, and back."""

    encode: Callable[[Item], list[Any]]
    decode: Callable[[list[Any]], Item]


class _File:
    """Records one after another in a file without a name, which ends with the process."""

    def __init__(self, folder: Path) -> None:
        # Where a disk cannot hide it, a kill leaves what the next run deletes.
        ending = f".{os.getpid()}{NEW}"
        self._stream = tempfile.TemporaryFile(prefix=".rows.", suffix=ending, dir=folder)
        self._unwritten = False
        # Where each record begins, and the last one ends.
        self.places = array("q", [0])

    def __len__(self) -> int:
        return len(self.places) - 1

    def add(self, record: bytes) -> int:
        """Adds a record; its number. Raises OSError on a full disk."""
        self._stream.write(record)
        self._unwritten = True
        self.places.append(self.places[-1] + len(record))
        return len(self) - 1

    def read(self, numbers: list[int]) -> Iterator[bytes]:
        """The records of these numbers, in this order; in one read where they lie together."""
        if self._unwritten:
            self._stream.flush()
            self._unwritten = False
        places, file = self.places, self._stream.fileno()
        start, end = places[numbers[0]], places[numbers[-1] + 1]
        is_near = 0 <= numbers[-1] - numbers[0] < 4 * len(numbers) and end - start <= MOST_READ
        if is_near and all(a < b for a, b in zip(numbers, numbers[1:], strict=False)):
            data = os.pread(file, end - start, start)
            for number in numbers:
                yield data[places[number] - start : places[number + 1] - start]
        else:
            for number in numbers:
                yield os.pread(file, places[number + 1] - places[number], places[number])


class Spilled(Sequence[Item]):
    """Items in a file without a name, or a choice of them."""

    def __init__(self, codec: Codec[Item], file: _File, numbers: Ints | None = None) -> None:
        """`numbers` (n,) say which records of the file these are, by default all."""
        self._codec, self._file, self._numbers = codec, file, numbers

    @classmethod
    def empty(cls, folder: Path, codec: Codec[Item]) -> Spilled[Item]:
        """None yet; they will lie on the disk of a folder."""
        return cls(codec, _File(folder))

    def append(self, item: Item) -> None:
        """Adds an item to all. Raises OSError on a full disk."""
        assert self._numbers is None
        self._add(item)

    def _add(self, item: Item) -> int:
        return self._file.add(json.dumps(self._codec.encode(item)).encode())

    # ------------------------------------------------------------ a sequence

    def __len__(self) -> int:
        return len(self._file) if self._numbers is None else len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> Spilled[Item]: ...

    def __getitem__(self, index: int | slice) -> Item | Spilled[Item]:
        numbers = range(len(self._file)) if self._numbers is None else self._numbers
        if isinstance(index, slice):
            return Spilled(self._codec, self._file, np.asarray(numbers[index], np.intp))
        (record,) = self._file.read([int(numbers[index])])
        return self._codec.decode(json.loads(record))

    def __iter__(self) -> Iterator[Item]:
        for start in range(0, len(self), PIECE):
            piece = range(start, min(start + PIECE, len(self)))
            numbers = list(piece) if self._numbers is None else self._numbers[piece].tolist()
            for record in self._file.read(numbers):
                yield self._codec.decode(json.loads(record))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def records(self) -> Spilled[list[Any]]:
        """The values of each item, as the codec encodes it."""
        return Spilled(Codec(list, list), self._file, self._all())

    # ------------------------------------------------------------ choices

    def take(self, indices: Ints) -> Spilled[Item]:
        """The items of these indices, in this order."""
        return Spilled(self._codec, self._file, self._all()[indices])

    def extended(self, items: Iterable[Item]) -> Spilled[Item]:
        """These items and further ones."""
        before = self._all()
        added = np.fromiter(map(self._add, items), np.intp)
        return Spilled(self._codec, self._file, np.concatenate([before, added]))

    def replaced(self, items: Mapping[int, Item]) -> Spilled[Item]:
        """The same with others at some indices."""
        numbers = self._all().copy()
        for index, item in items.items():
            numbers[index] = self._add(item)
        return Spilled(self._codec, self._file, numbers)

    def _all(self) -> Ints:
        return np.arange(len(self)) if self._numbers is None else self._numbers


class Each(Sequence[Value], Generic[Item, Value]):
    """What a function makes of each item, made where it is asked for."""

    def __init__(self, items: Sequence[Item], function: Callable[[Item], Value]) -> None:
        self._items, self._function = items, function

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: Any) -> Any:
        chosen = self._items[index]
        return Each(chosen, self._function) if isinstance(index, slice) else self._function(chosen)

    def __iter__(self) -> Iterator[Value]:
        return map(self._function, self._items)
