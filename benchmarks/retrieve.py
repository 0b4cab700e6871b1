"""What a search costs, beside faiss and usearch and beside the products alone.

    python -m benchmarks.retrieve --out DIR [--only PART ...] [--quick]

exact        10 nearest of 100k × 512, for 1, 16, 256 queries   against the product, faiss, usearch
filters      one query of 100k × 512 with filters               against the same without
million      the same of 1M × 512, and its opening
approximate  10 nearest of 1M × 512 by `ivf`, with filters      against exact search
embedding    256 photos by nano's vision tower                  against the tower on ready tensors

Peers are measured where they are installed: pip install faiss-cpu usearch. Whatever is compared is
timed in turns in one process of its own, on all cores, and its answers are checked against products
in double. Writes OUT/figures.json. Linux only.
"""

from benchmarks.figures import Benchmark, Bound, Figures, Part
from benchmarks.measurement import in_fresh_process, with_pace
from benchmarks.parts.approximate import Approximate
from benchmarks.parts.embedding import Embedding
from benchmarks.parts.filters import FILTERS, Filters
from benchmarks.parts.nearest import Exact

# The kinds of queries of which recall is measured.
KINDS = ("images", "captions")
PARTS: dict[str, Part] = {
    "exact": Exact(),
    "filters": Filters(),
    "million": Filters(rows=1_000_000, rounds=7),
    "approximate": Approximate(),
    "embedding": Embedding(),
}
QUICK: dict[str, Part] = {
    "exact": Exact(rows=3_000, dimension=64, batches=(1, 16, 40), rounds=2),
    "filters": Filters(rows=3_000, dimension=64, rounds=2),
    "million": Filters(rows=5_000, dimension=64, rounds=2),
    "approximate": Approximate(
        rows=20_000, dimension=64, batches=(1, 16, 40), rounds=2, queries=50, checked=40
    ),
    "embedding": Embedding(images=16, batch_size=8, rounds=2),
}
CHECKS = {
    **{f"exact.wrong_{count}": Bound(0.0) for count in (1, 16, 256)},
    **{f"{p}.{name}_wrong": Bound(0.0) for p in ("filters", "million") for name in FILTERS},
    **{f"approximate.recall_{kind}_10": Bound(0.9, at_least=True) for kind in KINDS},
    # Of batches of other sizes in other threads, float32.
    "embedding.differs": Bound(1e-5),
}
TARGETS = {
    "exact.of_product_256": Bound(1.3),
    **{f"exact.of_best_peer_{count}": Bound(1.0) for count in (1, 16, 256)},
    **{
        f"{p}.{n}_of_unfiltered": Bound(2.0)
        for p in ("filters", "million", "approximate")
        for n in FILTERS
    },
    **{f"{p}.open_ms": Bound(50.0) for p in ("million", "approximate")},
    **{f"approximate.times_faster_{n}": Bound(10.0, at_least=True) for n in (1, 16, 256)},
    **{f"approximate.recall_{kind}_10": Bound(0.99, at_least=True) for kind in KINDS},
    "embedding.of_tower": Bound(0.9, at_least=True),
    **{f"{part}.steady": Bound(0.9, at_least=True) for part in PARTS},
}


def _measure_part(part: Part) -> Figures:
    return in_fresh_process(with_pace, part.measure)


BENCHMARK = Benchmark(PARTS, QUICK, CHECKS, TARGETS, _measure_part)


def main() -> None:
    given = BENCHMARK.arguments("python -m benchmarks.retrieve", __doc__.splitlines()[0])
    options = given.parse_args()
    BENCHMARK.run(options.out, BENCHMARK.chosen(options))


if __name__ == "__main__":
    main()
