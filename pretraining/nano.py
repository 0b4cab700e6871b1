"""Makes nano and its scorer.

    python -m pretraining.nano --photos DIR --fashion-mnist DIR --work DIR --budget 6h

The budget is wall clock for the training stages, which run one after the other, each in two
processes of one thread. Every stage keeps its checkpoints in --work, is skipped when it is
finished there, and continues when it was cut. Another machine goes on from the weights.safetensors
and done.json of finished stages, copied into its --work. --luma and --grocery are never learned
from: they are measured on, where given.
"""

import argparse
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from unidiff_cli import machine

# In their order, and the processes of each; what runs in one has two threads.
STAGES = {
    "data": 1,
    "teacher": 1,
    "autoencoder": 2,
    "clip": 2,
    "scorer": 2,
    "latents": 1,
    "states": 1,
    "denoiser": 2,
    "vision": 2,
    "decoder": 2,
    "write": 1,
    "measure": 1,
}


def main() -> None:
    given = arguments()
    if given.stage:
        # torch loads in the processes of stages only.
        from pretraining.stages import Pretraining

        fields = {k: v for k, v in vars(given).items() if k not in ("stage", "until")}
        Pretraining(**fields).run(given.stage)
        return
    record(given)
    for stage in STAGES:
        if code := run(stage, given):
            sys.exit(
                f"The stage {stage} ended with {code}. Its checkpoints are kept: run the command "
                "again."
            )
        if stage == given.until:
            break


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
    add("--budget", type=seconds, default="6h", help="wall clock for training: 60m, 2h")
    add("--renders", type=int, default=24_000, help="rendered garments")
    add("--seed", type=int, default=0)
    add("--until", choices=STAGES, help="ends after this stage; the command goes on from there")
    add("--stage", choices=STAGES, help=argparse.SUPPRESS)
    return parser.parse_args()


def record(given: argparse.Namespace) -> None:
    """Adds to --work/started.json what begins or continues this work.

    That is the commit, the command, the machine and the time.
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
        "machine": f"{machine.cores()} cores of {machine.processor()}",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    path.write_text(json.dumps([*starts, begun], indent=2))


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], capture_output=True, text=True).stdout.strip()


def seconds(text: str) -> float:
    """Seconds of "90s", "60m" or "2h"."""
    return float(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]]


def run(stage: str, given: argparse.Namespace) -> int:
    """This program again, for one stage; its exit code.

    torch reads the number of threads once, at import.
    """
    python, processes = [sys.executable], STAGES[stage]
    # `accelerate launch --cpu --num_processes 2` would start one process without a word.
    if processes > 1:
        python += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    fields = {k: v for k, v in vars(given).items() if k not in ("stage", "until", "budget")}
    fields |= {"stage": stage, "budget": f"{given.budget}s"}
    options = [f"--{k.replace('_', '-')}={v}" for k, v in fields.items() if v is not None]
    threads = str(2 // processes)
    environment = os.environ | {"OMP_NUM_THREADS": threads, "HF_HUB_OFFLINE": "1"}
    return subprocess.run([*python, "-m", "pretraining.nano", *options], env=environment).returncode


if __name__ == "__main__":
    main()
