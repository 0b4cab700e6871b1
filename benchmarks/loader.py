"""What the loader of training costs a sample, beside webdataset's `WebLoader`, on one core.

    python -m benchmarks.loader --out DIR [--only PART ...] [--quick]

Each part has shards of 20,000 photos of its side, made once in DIR. Taking turns over them:

parse    images and captions of an epoch, undecoded   against raw samples of WebLoader, and a read
decode   the uint8 tensors of a batch, by their side  against WebLoader's by tensors and by Pillow's
         images, and Pillow's decoding alone
resume   the batch at 90 % of an epoch                against skipping what comes before, undecoded

`ours` reads by position, shuffled; `streamed` is `train.streaming`; WebLoader reads in order.
Times are the processor's, so that another process takes no part in them, but for the parts of one
worker, which are by the clock and need an idle machine. Writes OUT/figures.json. Linux only.
"""

from dataclasses import replace

from benchmarks.figures import Benchmark, Bound, Figures, Part
from benchmarks.measurement import in_fresh_process, with_pace
from benchmarks.parts.loading import Loading, OneWorker

PARTS: dict[str, Loading] = {
    "64": Loading(64, images=20_000, sides=(64,)),
    "256": Loading(256, images=20_000, sides=(256, 64)),
    "worker_64": OneWorker(64, images=20_000, sides=(64,), steps=200),
    "worker_256": OneWorker(256, images=20_000, sides=(256,), steps=60),
}
QUICK: dict[str, Loading] = {
    "64": Loading(48, 150, (48,), batch_size=8, rounds=1),
    "256": Loading(64, 150, (64, 32), batch_size=8, rounds=1),
    "worker_64": OneWorker(48, 150, (48,), batch_size=8, rounds=1),
    "worker_256": OneWorker(64, 150, (64,), batch_size=8, rounds=1),
}
# Those that one process measures.
ALONE = ("64", "256")
CHECKS = {
    **{f"{part}.{name}_differ": Bound(0.0) for part in ALONE for name in ("parse", "resume")},
    # Pillow and torch round a bicubic pixel differently.
    **{
        f"{part}.decode_{side}_off_{peer}": Bound(off)
        for part, options in [*PARTS.items(), *QUICK.items()]
        for side in options.sides
        for peer, off in (("webloader", 0.0), ("webloader_pil", 2.0))
    },
}
TARGETS = {
    **{f"{part}.parse_times_webloader": Bound(3.0, at_least=True) for part in PARTS},
    **{f"{part}.resume_times_skip": Bound(20.0, at_least=True) for part in ALONE},
    **{
        f"{part}.decode_{side}_times_{peer}": Bound(1.5, at_least=True)
        for part, options in PARTS.items()
        for side in options.sides
        for peer in ("webloader", "webloader_pil")
    },
    **{f"{part}.steady": Bound(0.9, at_least=True) for part in PARTS},
}


def _measure_part(part: Part) -> Figures:
    return in_fresh_process(with_pace, part.measure)


BENCHMARK = Benchmark(PARTS, QUICK, CHECKS, TARGETS, _measure_part)


def main() -> None:
    given = BENCHMARK.arguments("python -m benchmarks.loader", __doc__.splitlines()[0])
    options = given.parse_args()
    parts = QUICK if options.quick else PARTS
    chosen = {
        name: replace(parts[name], folder=options.out / f"project-{parts[name].side}")
        for name in options.only or parts
    }
    BENCHMARK.run(options.out, chosen)


if __name__ == "__main__":
    main()
