"""Whole commands: `unidiff prepare` beside img2dataset's, over the same photos on disk.

    python -m benchmarks.end_to_end --out DIR [--only PART ...] [--quick]

Each part has photos, made once in DIR, and brings their larger side to 256 or 512. Both commands
use two processes; img2dataset opens `file://` addresses, so that no server takes part. Seconds
are of the whole command, imports and all, by the clock and of the processors. Images are compared
with those that a whole decode and Lanczos give (PSNR).

img2dataset is measured where it is installed, beside unidiff and not with it:

    pip install --no-deps --target PEERS img2dataset 'opencv-python-headless<5' \\
        albumentations==1.4.24 albucore==0.0.23 stringzilla simsimd fire termcolor 'pandas<3' \\
        pytz tzdata six python-dateutil exifread-nocycle wandb platformdirs click gitpython gitdb \\
        smmap sentry-sdk protobuf pydantic pydantic-core annotated-types typing-inspection xxhash \\
        eval-type-backport
    PYTHONPATH=$PWD:PEERS python -m benchmarks.end_to_end ...

Writes OUT/figures.json. Linux only.
"""

from dataclasses import replace

from benchmarks.figures import Benchmark, Bound
from benchmarks.measurement import with_pace
from benchmarks.parts.commands import Commands

PARTS: dict[str, Commands] = {
    "to_256": Commands((1024, 768), 256, images=4_000),
    "to_512": Commands((2048, 1536), 512, images=1_000),
}
QUICK: dict[str, Commands] = {
    "to_256": Commands((128, 96), 64, images=80, rounds=1),
    "to_512": Commands((256, 192), 96, images=80, rounds=1),
}
CHECKS = {
    **{f"{part}.wrong": Bound(0.0) for part in PARTS},
    **{f"{part}.psnr_ours": Bound(30.0, at_least=True) for part in PARTS},
}
TARGETS = {
    **{f"{part}.seconds_times_img2dataset": Bound(2.0, at_least=True) for part in PARTS},
    **{f"{part}.steady": Bound(0.9, at_least=True) for part in PARTS},
}
BENCHMARK = Benchmark(PARTS, QUICK, CHECKS, TARGETS, lambda part: with_pace(part.measure))


def main() -> None:
    given = BENCHMARK.arguments("python -m benchmarks.end_to_end", __doc__.splitlines()[0])
    options = given.parse_args()
    parts = QUICK if options.quick else PARTS
    names = options.only or parts
    kept = {name: replace(parts[name], folder=options.out / f"photos-{name}") for name in names}
    BENCHMARK.run(options.out, kept)


if __name__ == "__main__":
    main()
