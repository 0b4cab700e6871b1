"""What a catalogue's rows cost: opening them, reading one, and an epoch's order without duplicates.

    python -m benchmarks.rows --out DIR [--only PART ...] [--quick]

Each part writes an index of so many rows with captions and eight attributes, three images a
product. In a process of its own it is opened, beside pyarrow.parquet.read_table of the same rows,
whose memory is the lower bound of rows that are decoded. `mb` is the peak of resident memory above
that of the imports, the pages of mapped files among it. `order` is an epoch of batches of 64
without two images of a product. Writes OUT/figures.json. Linux only.
"""

from benchmarks.figures import Benchmark, Bound, Figures, Part
from benchmarks.measurement import in_fresh_process
from benchmarks.parts.row_columns import RowColumns

PARTS: dict[str, Part] = {
    "10k": RowColumns(10_000),
    "100k": RowColumns(100_000),
    "1m": RowColumns(1_000_000),
}
QUICK: dict[str, Part] = {
    "10k": RowColumns(1_000),
    "100k": RowColumns(2_000),
    "1m": RowColumns(4_000),
}
CHECKS = {f"{part}.differ": Bound(0) for part in PARTS}
TARGETS = {"1m.open_seconds": Bound(1.0), "1m.open_mb": Bound(150.0)}


def _measure_part(part: Part) -> Figures:
    return in_fresh_process(part.measure)


BENCHMARK = Benchmark(PARTS, QUICK, CHECKS, TARGETS, _measure_part)


def main() -> None:
    given = BENCHMARK.arguments("python -m benchmarks.rows", __doc__.splitlines()[0])
    options = given.parse_args()
    BENCHMARK.run(options.out, BENCHMARK.chosen(options))


if __name__ == "__main__":
    main()
