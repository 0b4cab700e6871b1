"""A catalogue's decoded samples: records in a file, and arrays of what is compared with all others.

Each sample takes some 140 bytes of memory, and not the 4 kB of its objects.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, overload

import numpy as np

from unidiff_cli.data.images import CHANGES, PreparedImage
from unidiff_cli.data.kept_images import KeptImages, Place
from unidiff_cli.data.locations import InMemory
from unidiff_cli.data.sample import Cause, Reason, Rejected, Sample
from unidiff_cli.data.spilled import Codec, Each, Ints, Spilled
from unidiff_cli.data.splits import code_of

# What stands in a sample for an image that lies in the store.
STORED = InMemory("", b"")
# What is compared with all others. `content` are the first bytes of the sha256, which nobody finds
# two images of; `product` and `id` are hashes of this process, 0 for none.
FACTS = np.dtype(
    [
        ("content", "S16"),
        ("phash", "u1", 32),
        ("colour", "u1", 48),
        ("product", "<i8"),
        ("id", "<i8"),
        ("split", "i1"),
        ("is_flat", "?"),
        ("is_mask", "?"),
        ("is_coloured", "?"),
        # One bit for each of CHANGES.
        ("changes", "u1"),
    ]
)
_PACKED = struct.Struct("<16s32s48sqqb???B")
assert _PACKED.size == FACTS.itemsize


@dataclass(frozen=True)
class StoredSample:
    """A sample whose image is kept on disk, at `place`.

    `sample.image` and `image.data` are empty. `path` is the image's path relative to the
    catalogue, "" where it came out of a tar or a table.
    """

    sample: Sample
    path: str
    image: PreparedImage
    place: Place

    @property
    def name(self) -> str:
        """What a person finds it by."""
        return self.path or self.sample.row

    def read(self, kept: KeptImages) -> bytes:
        """The bytes of its image. Raises Damaged."""
        return kept.read(self.place, self.image.content)


def hash_of(text: str | None) -> int:
    """A number of a text, equal for equal ones in this process; 0 for none."""
    return hash(text) if text else 0


class StoredSamples(Sequence[StoredSample]):
    """Samples in a file, or a choice of them: one is made where it is asked for."""

    def __init__(
        self, items: Spilled[StoredSample], facts: bytearray, numbers: Ints | None = None
    ) -> None:
        self._items, self._facts, self._numbers = items, facts, numbers

    @classmethod
    def empty(cls, folder: Path) -> StoredSamples:
        """None yet; they will lie on the disk of a folder."""
        return cls(Spilled.empty(folder, Codec(_encoded, _decoded)), bytearray())

    def append(self, item: StoredSample) -> None:
        """Adds a sample to all. Raises OSError on a full disk."""
        image, sample = item.image, item.sample
        self._items.append(item)
        self._facts += _PACKED.pack(
            bytes.fromhex(image.content)[:16],
            image.phash,
            image.colour,
            hash_of(sample.product),
            hash_of(sample.id),
            code_of(sample.split),
            image.flat,
            image.mask,
            image.coloured,
            sum(1 << CHANGES.index(change) for change in image.changes),
        )

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> StoredSample: ...

    @overload
    def __getitem__(self, index: slice) -> Spilled[StoredSample]: ...

    def __getitem__(self, index: int | slice) -> StoredSample | Spilled[StoredSample]:
        return self._items[index]

    def __iter__(self) -> Iterator[StoredSample]:
        return iter(self._items)

    def captions(self) -> Iterable[list[str]]:
        """The captions of each sample, read whenever one goes through them."""
        return Each(self._items.records(), itemgetter(2))

    def column(self, name: str, indices: Ints | None = None) -> np.ndarray:
        """A field of FACTS of each sample (n, …), or of those of some indices."""
        whole = np.frombuffer(self._facts, FACTS)[name]
        if self._numbers is not None:
            return whole[self._numbers if indices is None else self._numbers[indices]]
        return whole.copy() if indices is None else whole[indices]

    def take(self, indices: Ints) -> StoredSamples:
        """The samples of these indices, in this order."""
        numbers = indices if self._numbers is None else self._numbers[indices]
        return StoredSamples(self._items.take(indices), self._facts, numbers)

    def replaced(self, items: Mapping[int, StoredSample]) -> StoredSamples:
        """The same with others at some indices, which differ in no field of FACTS."""
        return StoredSamples(self._items.replaced(items), self._facts, self._numbers)


@dataclass
class Decoded:
    """All rows of a catalogue: the samples, and the rows that give none, each in its order.

    Rows that are left out after decoding stand behind the other rejected ones.
    """

    samples: StoredSamples
    rejected: Spilled[Rejected]

    @classmethod
    def empty(cls, folder: Path) -> Decoded:
        """No rows yet; they will lie on the disk of a folder."""
        codec = Codec(_encoded_rejected, _decoded_rejected)
        return cls(StoredSamples.empty(folder), Spilled.empty(folder, codec))


# ---------------------------------------------------------------- as records


def _encoded(item: StoredSample) -> list[Any]:
    sample, image = item.sample, item.image
    return [
        sample.row,
        item.path,
        sample.captions,
        sample.attributes,
        sample.id,
        sample.product,
        sample.split,
        image.width,
        image.height,
        image.content,
        image.phash.hex(),
        image.colour.hex(),
        image.flat,
        image.mask,
        image.coloured,
        sorted(image.changes),
        item.place,
    ]


def _decoded(record: list[Any]) -> StoredSample:
    row, path, captions, attributes, id_, product, split, *facts, changes, place = record
    width, height, content, phash, colour, flat, mask, coloured = facts
    return StoredSample(
        Sample(row, STORED, tuple(captions), attributes, id_, product, split),
        path,
        PreparedImage(
            b"",
            width,
            height,
            content,
            bytes.fromhex(phash),
            bytes.fromhex(colour),
            flat,
            mask,
            coloured,
            frozenset(changes),
        ),
        Place(*place),
    )


def _encoded_rejected(item: Rejected) -> list[Any]:
    return [item.row, item.reason.text, item.reason.cause, item.path]


def _decoded_rejected(record: list[Any]) -> Rejected:
    row, text, cause, path = record
    return Rejected(row, Reason(text, Cause(cause) if cause else None), path)
