"""Folders of shards, written without prepare."""

import random
from pathlib import Path

from unidiff_cli.data import shards
from unidiff_cli.data.shard_writer import write_split
from unidiff_cli.data.shards import Row
from unidiff_cli.project.receipt import Receipt, close


def row_of(number: int, captions=("red dress",), attributes=None, **fields) -> Row:
    """The row of a sample of that number."""
    split = fields.pop("split", "train")
    key, name = f"{number:09d}", f"id-{number}"
    return Row(key, name, split, f"g{number}", tuple(captions), attributes or {}, **fields)


def random_samples(count: int = 8, seed: int = 0) -> list[tuple[Row, bytes]]:
    """Rows with random bytes in the place of images."""
    noise = random.Random(seed)
    return [(row_of(n), noise.randbytes(noise.randint(1, 1500))) for n in range(count)]


def write_shards(folder: Path, samples: list[tuple[Row, bytes]], size: int = 3) -> list[Row]:
    """A finished folder of one split, `size` samples a shard."""
    folder.mkdir(parents=True)
    rows, _ = write_split(folder, "train", samples, size)
    shards.write_index(folder, rows)
    close(folder, Receipt("prepare", {}), 0.0)
    return rows
