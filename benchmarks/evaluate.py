"""What evaluation costs, beside clean-fid and torch-fidelity and beside the machine's limits.

    python -m benchmarks.evaluate --out DIR [--only PART ...] [--queries N] [--quick]

extraction  Inception features of a folder of photos  against clean-fid, and the network alone
distance    FID of two sets of 2,048 features         against clean-fid and torch-fidelity
memory      the peak for moments of 10k to 200k       against all features in memory
recall      100k captions among 100k images           against the products alone

Whatever is compared is timed in turns in one process of its own, on all cores, and gives the same
numbers: a time whose output check fails ends the command with an error. Writes OUT/figures.json.
Linux only: peaks are read from /proc.
"""

from dataclasses import replace

# torch, clean-fid and SciPy are imported by the parts that use them: 300 MB that no peak below is
# to hold.
from benchmarks.figures import Benchmark, Bound, Figures, Part
from benchmarks.measurement import in_fresh_process, with_pace
from benchmarks.parts.distance import Distance
from benchmarks.parts.extraction import Extraction
from benchmarks.parts.memory import Memory
from benchmarks.parts.recall import Recall

CHECKS = {
    "extraction.resize_difference": Bound(0.0),
    "extraction.feature_difference": Bound(1e-4),
    "extraction.fid_difference": Bound(1e-6),
    "distance.difference_clean_fid": Bound(1e-6),
    "distance.difference_torch_fidelity": Bound(1e-6),
    "memory.mean_difference": Bound(1e-12),
    "memory.covariance_difference": Bound(1e-12),
    "recall.ranks_outside": Bound(0.0),
    "recall.tops_outside": Bound(0.0),
}
PARTS: dict[str, Part] = {
    "extraction": Extraction(),
    "distance": Distance(),
    "memory": Memory(),
    "recall": Recall(),
}
TARGETS = {
    "extraction.times_clean_fid": Bound(1.3, at_least=True),
    "extraction.of_forward": Bound(0.9, at_least=True),
    "distance.times_clean_fid": Bound(10.0, at_least=True),
    "memory.most_over_least": Bound(1.05),
    "recall.peak_blocks": Bound(4.0),
    **{f"{part}.steady": Bound(0.9, at_least=True) for part in PARTS},
}
QUICK: dict[str, Part] = {
    "extraction": Extraction(images=4, workers=(2, 0), rounds=1),
    "distance": Distance(features=400, dimension=256, rounds=1),
    "memory": Memory(dimension=256, streamed=(2_000, 4_000), whole=(2_000, 4_000)),
    "recall": Recall(queries=3_000, checked=300),
}


def _measure_part(part: Part) -> Figures:
    return in_fresh_process(with_pace, part.measure)


BENCHMARK = Benchmark(PARTS, QUICK, CHECKS, TARGETS, _measure_part)


def main() -> None:
    parser = BENCHMARK.arguments("python -m benchmarks.evaluate", __doc__.splitlines()[0])
    parser.add_argument("--queries", type=int, help="of recall, and as many answers: 100,000")
    given = parser.parse_args()
    parts = BENCHMARK.chosen(given)
    recall = parts.get("recall")
    if given.queries and isinstance(recall, Recall):
        checked = min(recall.checked, given.queries)
        parts["recall"] = replace(recall, queries=given.queries, checked=checked)
    BENCHMARK.run(given.out, parts)


if __name__ == "__main__":
    main()
