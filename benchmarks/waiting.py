"""What a busy core costs the stages, by how torch's threads wait for each other.

    python -m benchmarks.waiting --out DIR [--rounds 5] [--only passive]

A small piece of each stage runs at nano's size, in turns in resident processes that differ in one
thing: `spinning` is libgomp's own way (300,000 turns at every barrier), `brief` is ours, 1,000
turns, `passive` sleeps at once (OMP_WAIT_POLICY=PASSIVE). All cores are free, or another process
keeps one busy.
`slowdown` is busy over idle, `cost` is idle over idle spinning; both are of medians. `others` is
the most cores that other processes took in an idle round that counts: rounds in which they took
more than a twentieth of a core are left out, and `left_out` says how many. Writes OUT/figures.json.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.measurement import machine_facts
from benchmarks.parts.waiting import recipe

STAGES = ("train", "generate", "index", "evaluate")
# How threads wait: variables of the environment. A number of turns counts before the policy.
WAYS = {
    "spinning": {"GOMP_SPINCOUNT": "300000"},
    "brief": {"GOMP_SPINCOUNT": "1000"},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
}
# Variables that would decide for the stages.
OTHERS = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
# Another program that never waits, and the cores that others may take in an idle round.
LOOP, MOST = "while True: pass", 0.05
Seconds = dict[tuple[str, str, str], list[float]]


def prepared(folder: Path) -> Path:
    """A project with an export of nano, trained for a few steps."""
    from unidiff_cli import Project, export, prepare, train
    from unidiff_cli.sample_catalog import write_catalog

    project, settings = Project(folder / "project"), recipe()
    write_catalog(folder / "shop", images=120)
    prepare(project, settings, folder / "shop")
    run, _ = train(project, settings)
    export(project, run)
    return project.root


@contextmanager
def busy_core() -> Iterator[None]:
    """Within it another process keeps the last of our cores busy."""
    process = subprocess.Popen([sys.executable, "-c", LOOP])
    try:
        psutil.Process(process.pid).cpu_affinity([max(psutil.Process().cpu_affinity())])
        yield
    finally:
        process.kill()
        process.wait()


class Worker:
    """A process of `benchmarks.parts.waiting` on a project of its own."""

    def __init__(self, project: Path, folder: Path, way: str) -> None:
        copy = shutil.copytree(project, folder / way)
        environment = {name: value for name, value in os.environ.items() if name not in OTHERS}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.parts.waiting", str(copy)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**environment, **WAYS[way]},
        )
        self._answer()

    def seconds(self, stage: str) -> tuple[float, float]:
        """The seconds of a piece of a stage, and the cores that other processes took meanwhile."""
        assert self.process.stdin
        own = psutil.Process(self.process.pid)
        before, began, used = _busy(), time.monotonic(), sum(own.cpu_times()[:2])
        self.process.stdin.write(f"{stage}\n")
        self.process.stdin.flush()
        took = float(self._answer())
        others = _busy() - before - (sum(own.cpu_times()[:2]) - used)
        return took, others / (time.monotonic() - began)

    def _answer(self) -> Any:
        assert self.process.stdout
        for line in self.process.stdout:
            try:
                return json.loads(line)
            except ValueError:
                # What a library prints.
                continue
        raise SystemExit("A worker ended; see what it printed.")


def _busy() -> float:
    """The seconds of all cores that were not idle, since the machine started."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)


def measured(project: Path, ways: list[str], rounds: int) -> tuple[Seconds, dict[str, float]]:
    """Seconds by way, load and stage, in turns, and how quiet the machine was."""
    seconds: Seconds = {}
    most, left_out = 0.0, 0
    with TemporaryDirectory() as folder, ExitStack() as stack:
        workers = {way: Worker(project, Path(folder), way) for way in ways}
        for worker in workers.values():
            stack.callback(worker.process.kill)
        for _ in range(rounds):
            for stage in STAGES:
                for way, worker in workers.items():
                    took, others = worker.seconds(stage)
                    if others > MOST:
                        left_out += 1
                        continue
                    most = max(most, others)
                    seconds.setdefault((way, "idle", stage), []).append(took)
                with busy_core():
                    for way, worker in workers.items():
                        took, _ = worker.seconds(stage)
                        seconds.setdefault((way, "busy", stage), []).append(took)
    return seconds, {"others": most, "left_out": left_out}


def figures(seconds: Seconds) -> dict[str, dict[str, float]]:
    """By stage: seconds by way and load, the slowdown of each way, and what it costs when idle."""
    result: dict[str, dict[str, float]] = {stage: {} for stage in STAGES}
    for (way, load, stage), times in seconds.items():
        result[stage][f"{way}_{load}"] = median(times)
    for values in result.values():
        for way in WAYS:
            idle, busy = values.get(f"{way}_idle"), values.get(f"{way}_busy")
            if idle and busy:
                values[f"{way}_slowdown"] = busy / idle
            if idle and (first := values.get("spinning_idle")) and way != "spinning":
                values[f"{way}_cost"] = idle / first
    return result


def table(result: Mapping[str, Mapping[str, float]]) -> Table:
    """A row for each figure, a column for each stage."""
    shown = Table("figure", *STAGES)
    for name in dict.fromkeys(name for values in result.values() for name in values):
        cells = (result[stage].get(name) for stage in STAGES)
        shown.add_row(name, *("" if cell is None else f"{cell:.3g}" for cell in cells))
    return shown


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.waiting", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        facts = machine_facts()
        seconds, quiet = measured(prepared(Path(folder)), given.only, given.rounds)
    result = figures(seconds)
    text = json.dumps({"machine": facts | quiet, **result}, indent=2)
    (given.out / "figures.json").write_text(text + "\n")
    Console(width=110).print(table(result), quiet)


if __name__ == "__main__":
    main()
