"""An index of so many rows: written, opened, read, and put into an order without duplicates."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from benchmarks.measurement import in_fresh_process, peak_growth, seconds
from unidiff_cli.data.row import Row
from unidiff_cli.data.rows import Rows

IMAGES, BATCH = 3, 64
# Rows that are read anywhere, and compared with what was written.
READ = 1_000


@dataclass(frozen=True)
class RowColumns:
    """`rows` rows, three images a product."""

    rows: int

    def measure(self) -> dict[str, float]:
        """Seconds, MB, µs, and how many of some rows are not what was written."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            figures: dict[str, float] = {"rows": self.rows}
            figures |= in_fresh_process(_written, folder, self.rows)
            figures |= in_fresh_process(_opened, folder)
            figures |= in_fresh_process(_decoded, folder)
            return figures | in_fresh_process(_ordered, folder)


def made_up(count: int) -> Iterator[Row]:
    """Rows with a caption and eight attributes, one at a time."""
    for n in range(count):
        yield made_up_row(n)


def made_up_row(n: int) -> Row:
    """The row of a number."""
    attributes = {
        "category": "dress",
        "color": ("navy blue", "red", "black")[n % 3],
        "gender": "women",
        "season": "summer",
        "brand": f"Chaz {n % 97}",
        "price": n % 100,
        "usage": "casual",
        "year": 2012,
    }
    return Row(
        key=f"{n:09d}",
        id=f"sku-{n}",
        split=("train", "val", "test")[max(0, n % 10 - 7)],
        group=f"p{n // IMAGES}",
        captions=(f"Chaz {n // IMAGES} women's dress in navy blue, size {n % 9}",),
        attributes=attributes,
        row=f"line {n}",
        path=f"images/{n}.jpg",
        width=224,
        height=168,
        content=sha256(b"%d" % n).hexdigest(),
        phash=sha256(b"-%d" % n).hexdigest(),
        shard=f"train-{n // 1000:05d}.tar",
        image_offset=n % 1000 * 9000,
        image_size=7000,
        image_crc=n,
    )


def _written(folder: Path, count: int) -> dict[str, float]:
    from unidiff_cli.data.index_file import INDEX, MAPPED, write_index
    from unidiff_cli.project.receipt import Receipt, close

    grown, took, _ = peak_growth(lambda: write_index(folder, made_up(count)))
    close(folder, Receipt("prepare", {}), 0.0)
    sizes = {f"{name}_mb": (folder / name).stat().st_size / 1e6 for name in (INDEX, MAPPED)}
    return {"write_seconds": took, "write_mb": grown, **sizes}


def _opened(folder: Path) -> dict[str, float]:
    import pickle

    import pyarrow.compute  # noqa: F401
    import pyarrow.ipc  # noqa: F401
    import pyarrow.parquet  # noqa: F401

    from unidiff_cli.data.shards import Shards

    held: list[Rows] = []

    def opened() -> None:
        shards = Shards.open(folder)
        held.extend([shards.rows(), shards.rows("train")])

    grown, took, _ = peak_growth(opened)
    everything, train = held
    numbers = np.random.default_rng(0).integers(0, len(everything), READ).tolist()
    one = seconds(lambda: [everything[n] for n in numbers])[0]
    restored = seconds(lambda: pickle.loads(pickle.dumps(train)))[0]
    return {
        "open_seconds": took,
        "open_mb": grown,
        "row_us": 1e6 * one / READ,
        "pickle_kb": len(pickle.dumps(train)) / 1e3,
        "pickle_seconds": restored,
        "differ": sum(everything[n] != made_up_row(n) for n in numbers),
    }


def _decoded(folder: Path) -> dict[str, float]:
    import pyarrow.parquet

    from unidiff_cli.data.index_file import INDEX

    grown, took, _ = peak_growth(lambda: pyarrow.parquet.read_table(folder / INDEX))
    return {"read_table_seconds": took, "read_table_mb": grown}


def _ordered(folder: Path) -> dict[str, float]:
    from unidiff_cli.data.distinct_order import DistinctOrder
    from unidiff_cli.data.shards import Shards

    rows = Shards.open(folder).rows()
    marked, order = seconds(lambda: DistinctOrder(rows, BATCH, 0))
    grown, arranged, _ = peak_growth(lambda: order(0))
    per_row = 1e6 * arranged / len(rows)
    return {
        "marks_seconds": marked,
        "order_seconds": arranged,
        "order_us_a_row": per_row,
        "order_mb": grown,
    }
