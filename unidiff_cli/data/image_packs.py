"""Packs of prepared images: their bytes in one file, and what is known of each in another.

`NAME.bin` holds the bytes, one image after another, and `NAME.arrow`, which is written last and
whose name is its own sha256, a row for each.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from unidiff_cli.data.images import PreparedImage
from unidiff_cli.project.files import NEW, atomic_file, file_digest, rename, sync

if TYPE_CHECKING:
    import numpy as np
    import pyarrow

FACTS, IMAGES = ".arrow", ".bin"
# Bytes of a digest that names a source.
KEY_BYTES = 16
# Hex digits of a digest that are enough to know it by.
NAME = 32


def _schema() -> pyarrow.Schema:
    import pyarrow

    return pyarrow.schema(
        [
            ("key", pyarrow.binary()),
            ("width", pyarrow.int32()),
            ("height", pyarrow.int32()),
            ("content", pyarrow.binary()),
            ("phash", pyarrow.binary()),
            ("colour", pyarrow.binary()),
            ("is_flat", pyarrow.bool_()),
            ("is_mask", pyarrow.bool_()),
            ("is_coloured", pyarrow.bool_()),
            ("changes", pyarrow.string()),
            ("offset", pyarrow.int64()),
            ("size", pyarrow.int64()),
        ]
    )


def image_of(facts: dict[str, Any]) -> PreparedImage:
    return PreparedImage(
        b"",
        facts["width"],
        facts["height"],
        facts["content"].hex(),
        facts["phash"],
        facts["colour"],
        facts["is_flat"],
        facts["is_mask"],
        facts["is_coloured"],
        frozenset(facts["changes"].split()),
    )


class Pack:
    """The rows of one pack, memory-mapped."""

    def __init__(self, name: str, batch: pyarrow.RecordBatch) -> None:
        self.name, self.count, self.batch = name, batch.num_rows, batch
        self.columns = {n: batch.column(n) for n in batch.schema.names if n != "key"}
        self._bytes = sum(batch.column("size").to_pylist())
        self._there: bool | None = None

    def has_images(self, file: Path) -> bool:
        """Whether its bytes are there, all of them."""
        if self._there is None:
            self._there = file.is_file() and file.stat().st_size == self._bytes
        return self._there


def read_packs(folder: Path) -> list[Pack]:
    """The packs of a folder that are whole, in the order of their names."""
    return [pack for file in sorted(folder.glob(f"*{FACTS}")) if (pack := _read_pack(file))]


def _read_pack(file: Path) -> Pack | None:
    """The rows of a pack; None where the file is not what was written: its name is its sha256."""
    import pyarrow.ipc

    try:
        if file_digest(file)[: len(file.stem)] != file.stem:
            return None
        table = pyarrow.ipc.open_file(pyarrow.memory_map(str(file))).read_all()
        return Pack(file.stem, table.combine_chunks().to_batches()[0])
    except (OSError, ValueError, pyarrow.ArrowException, IndexError):
        return None


def _encoded(batch: pyarrow.RecordBatch) -> tuple[str, bytes]:
    """The rows of a pack as a file, and its name."""
    import pyarrow.ipc

    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    data = sink.getvalue().to_pybytes()
    return hashlib.sha256(data).hexdigest()[:NAME], data


def _write_facts(folder: Path, name: str, data: bytes) -> None:
    with atomic_file(folder / f"{name}{FACTS}") as beside:
        beside.write_bytes(data)


def join(folder: Path, packs: list[Pack]) -> None:
    """Writes the rows of several packs as one, whose bytes lie in shards."""
    import pyarrow

    table = pyarrow.Table.from_batches([pack.batch for pack in packs]).combine_chunks()
    name, data = _encoded(table.to_batches()[0])
    _write_facts(folder, name, data)
    for pack in packs:
        if pack.name != name:
            (folder / f"{pack.name}{FACTS}").unlink(missing_ok=True)


def sorted_keys(packs: list[Pack]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All keys in order, (n,), and the pack and the row of each; of two equal ones the later."""
    import numpy as np

    kind = f"S{KEY_BYTES}"
    keys = [np.array(pack.batch.column("key").to_pylist(), kind) for pack in reversed(packs)]
    numbers = [np.full(packs[n].count, n) for n in reversed(range(len(packs)))]
    rows = [np.arange(pack.count) for pack in reversed(packs)]
    none = np.zeros(0, int)
    found, first = np.unique(np.concatenate([np.zeros(0, kind), *keys]), return_index=True)
    return found, np.concatenate([none, *numbers])[first], np.concatenate([none, *rows])[first]


class OpenPack:
    """A pack that is being filled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.file = folder / f".pack-{secrets.token_hex(8)}.{os.getpid()}{NEW}"
        self.stream: IO[bytes] = open(self.file, "wb")
        self.rows: list[dict[str, Any]] = []
        self.size = 0

    def put(self, key: bytes | None, image: PreparedImage) -> tuple[int, int]:
        offset, size = self.size, len(image.data)
        self.stream.write(image.data)
        self.size += size
        self.rows.append(
            {
                # One that nothing tells a change of is found by no key.
                "key": key or b"",
                "width": image.width,
                "height": image.height,
                "content": bytes.fromhex(image.content),
                "phash": image.phash,
                "colour": image.colour,
                "is_flat": image.flat,
                "is_mask": image.mask,
                "is_coloured": image.coloured,
                "changes": " ".join(sorted(image.changes)),
                "offset": offset,
                "size": size,
            }
        )
        return offset, size

    def close(self) -> Path:
        """Brings the pack to the disk; the file of its bytes."""
        import pyarrow

        with self.stream:
            pass
        sync(self.file)
        batch = pyarrow.RecordBatch.from_pylist(self.rows, schema=_schema())
        name, data = _encoded(batch)
        file = self._folder / f"{name}{IMAGES}"
        # The bytes first: those of facts without bytes are looked for in the shards.
        rename(self.file, file)
        _write_facts(self._folder, name, data)
        return file
