"""What `unidiff prepare` costs an image, beside img2dataset, webdataset and libjpeg-turbo alone.

    python -m benchmarks.prepare --out DIR [--only PART ...] [--quick]

resize_256, _512, _1024   photos four times (1024: 3.94) as large   against img2dataset's Resizer,
                                                                    Pillow, and a scaled decode
written   such photos resized and written as shards   against Pillow and wds.ShardWriter
passed    ready bytes of 7, 30 and 200 kB as shards    against wds.TarWriter and a raw write
workers   a whole prepare by one process and by two
growth    a whole prepare of 1,000 to 60,000 tiny photos: the cost of one
memory    a whole prepare of 10,000 and of 40,000 tiny photos: the peak of resident memory of the
          process that does not decode, and what one more row adds to it

Where one process works, times are the processor's, so that another process takes no part in them;
the parts `workers` and `growth` need an idle machine. All take turns in one run, and images are
compared with those that a whole decode and Lanczos give (PSNR).

Peers are measured where they are installed, beside unidiff and not with it. Resizer needs

    pip install --no-deps --target PEERS img2dataset 'opencv-python-headless<5' simplejpeg \\
        albumentations==1.4.24 albucore==0.0.23 stringzilla simsimd
    PYTHONPATH=$PWD:PEERS python -m benchmarks.prepare ...

Writes OUT/figures.json. Linux only.
"""

from benchmarks.figures import Benchmark, Bound, Figures, Part
from benchmarks.measurement import in_fresh_process, with_pace
from benchmarks.parts.preparing import CATALOGUES, Growth, Memory, Workers
from benchmarks.parts.resizing import Resizing
from benchmarks.parts.tars import Passed, Written

SIZES = {256: (1024, 768), 512: (2048, 1536), 1024: (4032, 3024)}
PARTS: dict[str, Part] = {
    "resize_256": Resizing(SIZES[256], 256, images=40),
    "resize_512": Resizing(SIZES[512], 512, images=16),
    "resize_1024": Resizing(SIZES[1024], 1024, images=6),
    "written": Written(SIZES[256], 256, images=100),
    "passed": Passed(),
    "workers": Workers(SIZES[256], 256, images=1_500),
    "growth": Growth((1_000, 4_000, 16_000, 60_000)),
    "memory": Memory((10_000, 40_000)),
}
QUICK: dict[str, Part] = {
    "resize_256": Resizing((256, 192), 64, images=2, rounds=2),
    "resize_512": Resizing((512, 384), 128, images=1, rounds=2),
    "resize_1024": Resizing((504, 378), 128, images=1, rounds=2),
    "written": Written((256, 192), 64, images=3, rounds=2),
    "passed": Passed(kilobytes=(7,), images=10, rounds=2),
    "workers": Workers((128, 96), 64, images=80, rounds=1),
    "growth": Growth((70, 140), side=48),
    "memory": Memory((70, 140)),
}
RESIZED = [name for name in PARTS if name.startswith("resize")]
CHECKS = {
    # No image is worse than the peer's by more than half a decibel.
    **{f"{part}.psnr_over_resizer": Bound(-0.5, at_least=True) for part in RESIZED},
    **{f"{part}.psnr_over_cv2": Bound(-0.5, at_least=True) for part in RESIZED},
    **{f"{part}.psnr": Bound(30.0, at_least=True) for part in [*RESIZED, "written"]},
    **{f"{part}.wrong": Bound(0.0) for part in PARTS if not part.startswith("resize")},
}
TARGETS = {
    **{f"{part}.times_resizer": Bound(1.5, at_least=True) for part in RESIZED},
    **{f"{part}.of_limit": Bound(0.85, at_least=True) for part in RESIZED},
    "written.times_shardwriter": Bound(3.0, at_least=True),
    **{f"passed.times_tarwriter_{size}k": Bound(4.0, at_least=True) for size in (7, 30, 200)},
    "workers.times_one": Bound(1.85, at_least=True),
    "growth.last_over_least": Bound(1.05),
    # 1 KiB for 1,000 rows.
    **{f"memory.{kind}_bytes_a_row": Bound(1.024) for kind in CATALOGUES},
    **{f"{part}.steady": Bound(0.9, at_least=True) for part in PARTS},
}


def _measure_part(part: Part) -> Figures:
    return in_fresh_process(with_pace, part.measure)


BENCHMARK = Benchmark(PARTS, QUICK, CHECKS, TARGETS, _measure_part)


def main() -> None:
    given = BENCHMARK.arguments("python -m benchmarks.prepare", __doc__.splitlines()[0])
    options = given.parse_args()
    BENCHMARK.run(options.out, BENCHMARK.chosen(options))


if __name__ == "__main__":
    main()
