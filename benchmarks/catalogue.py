"""A whole catalogue of ever more rows: prepared, indexed, and read for an epoch of training.

    python -m benchmarks.catalogue --out DIR [--rows 10000 100000 1000000] [--quick]

A parquet file holds so many tiny photos (32 px), with captions and eight attributes, three photos a
product. Each stage runs in a process of its own, `prepare` and the loader with two workers. `mb` is
the peak of resident memory above that of the imports, in the process that leads. `index` is of
embeddings that are there, so that it is not a measure of the tower. An exponent is the slope of
log time over log rows. Writes OUT/figures.json. An hour for a million rows. Linux only.
"""

from benchmarks.figures import Benchmark, Bound, Figures, Part
from benchmarks.parts.catalogue_stages import STAGES, CatalogueStages

COUNTS = (10_000, 100_000, 1_000_000)
PARTS: dict[str, Part] = {"catalogue": CatalogueStages(COUNTS)}
QUICK: dict[str, Part] = {"catalogue": CatalogueStages((256, 512), workers=0)}
CHECKS = {"catalogue.wrong": Bound(0)}
TARGETS = {
    f"catalogue.{stage}_{few}_to_{many}_exponent": Bound(1.05)
    for stage in STAGES
    for few, many in zip(COUNTS, COUNTS[1:], strict=False)
}


def _measure_part(part: Part) -> Figures:
    return part.measure()


BENCHMARK = Benchmark(PARTS, QUICK, CHECKS, TARGETS, _measure_part)


def main() -> None:
    given = BENCHMARK.arguments("python -m benchmarks.catalogue", __doc__.splitlines()[0])
    given.add_argument("--rows", type=int, nargs="+", default=[], help="other counts than these")
    options = given.parse_args()
    parts = BENCHMARK.chosen(options)
    if options.rows:
        parts = {"catalogue": CatalogueStages(tuple(sorted(options.rows)))}
    BENCHMARK.run(options.out, parts)


if __name__ == "__main__":
    main()
