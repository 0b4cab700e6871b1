"""Make nano and its scorer: python -m pretraining.nano --photos DIR --fashion-mnist DIR --work DIR --budget 72m

The budget is wall clock for the training stages; on two cores two stages, or two halves of one, run side by side:

    core 1   data | clip                           | states | denoiser (half) | vision, decoder (half) | write | measure, card
    core 2   data | autoencoder | latents | scorer |        | denoiser (half) | vision, decoder (half) |

Every stage keeps its checkpoints in --work, is skipped when it is finished there, and continues when it was cut.
"""

import argparse
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

STAGES = (
    "data",
    "clip",
    "autoencoder",
    "latents",
    "scorer",
    "states",
    "denoiser",
    "vision",
    "decoder",
    "write",
    "measure",
)


def main() -> None:
    args = arguments()
    if args.stage:
        from pretraining.stages import Making

        given = {k: v for k, v in vars(args).items() if k != "stage"}
        Making(**given).run(args.stage)
        return
    record(args)
    start("data", args).wait_or_stop()
    clip = start("clip", args)
    start("autoencoder", args).wait_or_stop()
    start("latents", args).wait_or_stop()
    start("scorer", args).wait_or_stop()
    clip.wait_or_stop()
    start("states", args, threads=2).wait_or_stop()
    start("denoiser", args, processes=2).wait_or_stop()
    start("vision", args, processes=2).wait_or_stop()
    start("decoder", args, processes=2).wait_or_stop()
    start("write", args, threads=2).wait_or_stop()
    start("measure", args, threads=2).wait_or_stop()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m pretraining.nano", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--photos", type=Path, required=True, help="clothing-dataset-small: images/, captions.jsonl"
    )
    parser.add_argument(
        "--fashion-mnist",
        type=Path,
        required=True,
        help="of Debian's dataset-fashion-mnist: train-*-ubyte.gz",
    )
    for name in ("luma", "grocery"):
        parser.add_argument(
            f"--{name}", type=Path, help="never learned from: measured on, where it is given"
        )
    parser.add_argument(
        "--work", type=Path, required=True, help="arrays, checkpoints, logs; not in the work tree"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("unidiff_cli/bases"), help="where nano/, nano_scorer/ go"
    )
    parser.add_argument(
        "--budget", type=minutes, default="72m", help="wall clock for training: 60m, 2h"
    )
    parser.add_argument("--renders", type=int, default=24_000, help="drawn garments")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stage", choices=STAGES, help="this stage only")
    return parser.parse_args()


def record(args: argparse.Namespace) -> None:
    """Add to --work/started.json what begins or continues this work: the commit, the command, the time."""
    path = args.work / "started.json"
    args.work.mkdir(parents=True, exist_ok=True)
    starts = json.loads(path.read_text()) if path.exists() else []

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True).stdout.strip()

    begun = {
        "commit": git("rev-parse", "--short", "HEAD"),
        "changed": git("status", "--porcelain", "--", "pretraining", "unidiff_cli/sample_catalog"),
        "renders": args.renders, "budget": args.budget, "seed": args.seed,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip
    path.write_text(json.dumps([*starts, begun], indent=2))


def minutes(text: str) -> float:
    """Seconds of "90s", "60m" or "2h"."""
    return float(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]]


class Running(subprocess.Popen):
    def wait_or_stop(self) -> None:
        if code := self.wait():
            sys.exit(
                f"{self.args[-2]} ended with {code}. Its checkpoints are kept: run the command again."
            )


def start(stage: str, args: argparse.Namespace, threads: int = 1, processes: int = 1) -> Running:
    """This program again, for one stage, with its own number of threads (torch reads it once, at import)."""
    python = [sys.executable]
    if (
        processes > 1
    ):  # `accelerate launch --cpu --num_processes 2` would start one process and say nothing
        python += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    given = {k: v for k, v in vars(args).items() if k not in ("stage", "budget") and v is not None}
    given |= {"stage": stage, "budget": f"{args.budget}s"}
    command = [
        *python,
        "-m",
        "pretraining.nano",
        *(f"--{k.replace('_', '-')}={v}" for k, v in given.items()),
    ]
    return Running(
        command, env=os.environ | {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    )


if __name__ == "__main__":
    main()
