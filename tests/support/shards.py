"""Folders of shards, written without prepare."""

import random
from pathlib import Path

from unidiff_cli.data import shards
from unidiff_cli.data.shard_writer import shard_name, write_shard
from unidiff_cli.data.shards import Row
from unidiff_cli.project.receipt import Receipt, close

# What `attribute_rows` show.
ROW_KINDS, ROW_COLOURS = ("dress", "hoodie_top"), ("black", "navy blue", "orange")


def row_of(number: int, captions=("red dress",), attributes=None, **fields) -> Row:
    """The row of a sample of that number."""
    split = fields.pop("split", "train")
    key, name = f"{number:09d}", f"id-{number}"
    return Row(key, name, split, f"g{number}", tuple(captions), attributes or {}, **fields)


def attribute_rows(count: int = 60, **more) -> list[Row]:
    """Products of two images; each caption names the product, its colour and whom it is for.

    A further column is a function of the row's number.
    """
    rows = []
    for n in range(count):
        kind, colour, whom = (
            ROW_KINDS[n // 2 % 2],
            ROW_COLOURS[n // 4 % 3],
            ("women", "men")[n // 12 % 2],
        )
        attributes = {
            "category": kind,
            "color": colour,
            "gender": whom,
            "season": "s" + "pq"[n % 2],
        }
        attributes |= {"brand": f"Chaz {'abcdefghij'[n // 6]}"}
        caption = f"Chaz {n // 2} {kind} in {colour}, for {whom}"
        row = row_of(n, (caption,), attributes | {k: v(n) for k, v in more.items()})
        rows.append(Row(**{**vars(row), "group": f"p{n // 2}"}))
    return rows


def random_samples(count: int = 8, seed: int = 0) -> list[tuple[Row, bytes]]:
    """Rows with random bytes in the place of images."""
    noise = random.Random(seed)
    return [(row_of(n), noise.randbytes(noise.randint(1, 1500))) for n in range(count)]


def write_shards(folder: Path, samples: list[tuple[Row, bytes]], size: int = 3) -> list[Row]:
    """A finished folder of one split, `size` samples a shard."""
    folder.mkdir(parents=True)
    rows: list[Row] = []
    for number, start in enumerate(range(0, len(samples), size)):
        name = shard_name("train", number)
        rows += write_shard(folder / name, name, samples[start : start + size])[0]
    shards.write_index(folder, rows)
    close(folder, Receipt("prepare", {}), 0.0)
    return rows
