"""Makes nano and its scorer.

    python -m pretraining.nano --photos DIR --fashion-mnist DIR --work DIR --budget 72m

The budget is wall clock for the training stages; on two cores two stages, or two halves of one, run
side by side:

    core 1  data, teacher  clip, scorer          states  denoiser  vision, decoder  write, measure
    core 2                 autoencoder, latents          denoiser  vision, decoder

Every stage keeps its checkpoints in --work, is skipped when it is finished there, and continues
when it was cut. --luma and --grocery are never learned from: they are measured on, where given.
"""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

STAGES = (
    "data",
    "teacher",
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
    given = arguments()
    if given.stage:
        # torch loads in the processes of stages only.
        from pretraining.stages import Pretraining

        fields = {k: v for k, v in vars(given).items() if k != "stage"}
        Pretraining(**fields).run(given.stage)
        return
    record(given)
    start("data", given).wait_or_stop()
    start("teacher", given, threads=2).wait_or_stop()
    autoencoder = start("autoencoder", given)
    start("clip", given).wait_or_stop()
    start("scorer", given).wait_or_stop()
    autoencoder.wait_or_stop()
    start("latents", given, threads=2).wait_or_stop()
    start("states", given, threads=2).wait_or_stop()
    start("denoiser", given, processes=2).wait_or_stop()
    start("vision", given, processes=2).wait_or_stop()
    start("decoder", given, processes=2).wait_or_stop()
    start("write", given, threads=2).wait_or_stop()
    start("measure", given, threads=2).wait_or_stop()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m pretraining.nano", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    photos = "clothing-dataset-small: images/, captions.jsonl"
    mnist = "of Debian's dataset-fashion-mnist: train-*-ubyte.gz"
    out = Path("unidiff_cli/models/embedded")
    add("--photos", type=Path, required=True, help=photos)
    add("--fashion-mnist", type=Path, required=True, help=mnist)
    for name in ("luma", "grocery"):
        add(f"--{name}", type=Path, help="never learned from: measured on, where it is given")
    add("--work", type=Path, required=True, help="arrays, checkpoints, logs; not in the work tree")
    add("--out", type=Path, default=out, help="where nano/, nano_scorer/ go")
    add("--budget", type=seconds, default="72m", help="wall clock for training: 60m, 2h")
    add("--renders", type=int, default=24_000, help="rendered garments")
    add("--seed", type=int, default=0)
    add("--stage", choices=STAGES, help="this stage only")
    return parser.parse_args()


def record(given: argparse.Namespace) -> None:
    """Adds to --work/started.json what begins or continues this work.

    That is the commit, the command and the time.
    """
    path = given.work / "started.json"
    given.work.mkdir(parents=True, exist_ok=True)
    starts = json.loads(path.read_text()) if path.exists() else []
    begun = {
        "commit": _git("rev-parse", "--short", "HEAD"),
        "changed": _git("status", "--porcelain", "--", "pretraining", "unidiff_cli/sample_catalog"),
        "renders": given.renders,
        "budget": given.budget,
        "seed": given.seed,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    path.write_text(json.dumps([*starts, begun], indent=2))


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], capture_output=True, text=True).stdout.strip()


def seconds(text: str) -> float:
    """Seconds of "90s", "60m" or "2h"."""
    return float(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]]


@dataclass
class Running:
    """A stage in a process of its own."""

    stage: str
    process: subprocess.Popen

    def wait_or_stop(self) -> None:
        """Waits for the stage, and ends this program when it failed."""
        if code := self.process.wait():
            sys.exit(
                f"The stage {self.stage} ended with {code}. Its checkpoints are kept: run the "
                "command again."
            )


def start(stage: str, given: argparse.Namespace, threads: int = 1, processes: int = 1) -> Running:
    """This program again, for one stage, with its number of threads.

    torch reads that number once, at import.
    """
    python = [sys.executable]
    # `accelerate launch --cpu --num_processes 2` would start one process without a word.
    if processes > 1:
        python += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    fields = {k: v for k, v in vars(given).items() if k not in ("stage", "budget")}
    fields |= {"stage": stage, "budget": f"{given.budget}s"}
    options = [f"--{k.replace('_', '-')}={v}" for k, v in fields.items() if v is not None]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    command = [*python, "-m", "pretraining.nano", *options]
    return Running(stage, subprocess.Popen(command, env=environment))


if __name__ == "__main__":
    main()
