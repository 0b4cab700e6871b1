"""Mutated images, tables and tars by the hundred: no hang, no traceback, every row counted."""

import gzip
import json
import random
import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from tests.support import hostile
from tests.support.catalogue import encoded, photo, put, tar_of

KINDS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
# What a header is most easily broken with.
EXTREMES = (
    b"\0",
    b"\xff",
    b"\x7f",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"\x80\0\0\0",
    b"\x7f\xff\xff\xff",
)
# Reads each catalogue to its end, as prepare does before it decodes.
READ = """
import sys
from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data import readers
from unidiff_cli.errors import UnidiffError
for path in sys.argv[1:]:
    try:
        reader = readers.choose(path, Prepare())
        reader.describe(), reader.extent()
        rows = sum(1 for _ in reader)
        print(path, rows)
    except UnidiffError as problem:
        assert problem.fact
        print(path, "refused")
"""


def mutated(data: bytes, dice: random.Random) -> bytes:
    """The bytes with one to six pieces flipped, cut out, repeated, or set to an extreme."""
    changed = bytearray(data)
    for _ in range(dice.randint(1, 6)):
        # Two thirds of the changes hit a header, or the footer of a parquet.
        first = dice.choice((0, 0, max(0, len(changed) - 400)))
        place = dice.randrange(first, max(1, min(len(changed), first + dice.choice((200, 10**6)))))
        size = dice.choice((1, 2, 4, 30))
        match dice.randrange(5):
            case 0:
                changed[place : place + 1] = bytes([changed[place] ^ 1 << dice.randrange(8)])
            case 1:
                del changed[place : place + size]
            case 2:
                changed[place:place] = changed[place : place + size] * dice.choice((1, 3, 1000))
            case 3:
                extreme = dice.choice(EXTREMES)
                changed[place : place + len(extreme)] = extreme
            case 4:
                changed[place : place + size] = dice.randbytes(size)
    return bytes(changed)


def images(folder: Path, count: int, seed: int) -> Path:
    """Three good images, and mutated ones of every kind."""
    dice = random.Random(seed)
    for n in range(3):
        put(folder / "good" / f"{n}.jpg", encoded(photo(n)))
    for n in range(count):
        kind = KINDS[n % len(KINDS)]
        options = {"progressive": True} if kind == "JPEG" and n % 2 else {}
        data = mutated(encoded(photo(n, (64, 48)), kind, **options), dice)
        put(folder / "bad" / f"{n}.{kind.lower()}", data or b"x")
    return folder


def assert_images_cost_their_rows(folder: Path, count: int, seed: int) -> None:
    outcome = hostile.prepare(images(folder, count, seed))
    hostile.assert_within_bounds(outcome)
    assert outcome.code == 0 and f"{count + 3} of {count + 3}" in outcome.text, outcome.text


# ---------------------------------------------------------------- tables and tars


def tables(folder: Path) -> dict[str, bytes]:
    """A good catalogue in every form."""
    rows = [
        {"image": f"{n}.jpg", "caption": f"thing {n}", "size": n, "tags": ["a", "b"], "x": 'q"u,o'}
        for n in range(30)
    ]
    table = pyarrow.Table.from_pylist(rows)
    pyarrow.parquet.write_table(table, folder / "t.parquet", row_group_size=10)
    image = encoded(photo(0))
    pairs = [(f"{n}.jpg", image) for n in range(5)] + [("9.jpg", image)]
    pairs += [("9.json", b'{"caption": "x", "price": 1}'), ("8.txt", b"x")]
    for name, mode in (("t.tar", "w"), ("t.tar.gz", "w:gz")):
        tar_of(folder / name, sorted(pairs), mode)
    csv = "image,caption,x\n" + "".join(f'{r["image"]},"{r["caption"]}","q""u,o"\n' for r in rows)
    texts = {
        "t.csv": csv,
        "t.tsv": csv.replace(",", "\t"),
        "t.jsonl": "".join(json.dumps(row) + "\n" for row in rows),
        "t.json": json.dumps(rows),
    }
    binaries = {name: (folder / name).read_bytes() for name in ("t.parquet", "t.tar", "t.tar.gz")}
    return binaries | {name: text.encode() for name, text in texts.items()}


def assert_tables_are_read_or_refused(folder: Path, count: int, seed: int) -> None:
    dice = random.Random(seed)
    folder.mkdir()
    good, paths = list(tables(folder).items()), []
    for n in range(count):
        name, data = good[n % len(good)]
        # Else nearly all that is seen of a packed tar is that its packing is broken.
        if name == "t.tar.gz":
            data = gzip.compress(mutated(gzip.decompress(data), dice))
        else:
            data = mutated(data, dice)
        paths.append(put(folder / str(n) / name, data or b"x"))
        put(folder / str(n) / "0.jpg")
    done = subprocess.run(
        [sys.executable, "-c", READ, *paths],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=hostile.SECONDS + count,
        env=hostile.environment(),
        preexec_fn=hostile.limit_addresses,
    )
    assert done.returncode == 0, (done.stdout.splitlines()[-1:], done.stderr[-3000:])
    assert len(done.stdout.splitlines()) == count


# ---------------------------------------------------------------- short and long


def test_mutated_images(tmp_path):
    assert_images_cost_their_rows(tmp_path / "shop", 42, 0)


def test_mutated_tables_and_tars(tmp_path):
    assert_tables_are_read_or_refused(tmp_path / "shop", 35, 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_100_mutated_images(tmp_path, seed):
    assert_images_cost_their_rows(tmp_path / "shop", 100, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
def test_50_mutated_tables_and_tars(tmp_path, seed):
    assert_tables_are_read_or_refused(tmp_path / "shop", 50, seed)
