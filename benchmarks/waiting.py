"""What a busy core costs the stages, by how torch's threads wait for each other.

    python -m benchmarks.waiting --out DIR [--rounds 2] [--only passive]

Each stage runs at nano's size in fresh processes, with all cores free and with one core kept busy
by a loop of another process. `spinning` is libgomp's own way (300,000 turns at every barrier),
`brief` spins 1,000 turns, `passive` is ours (OMP_WAIT_POLICY=PASSIVE). Medians of the rounds;
`slowdown` is busy over idle, `cost` is idle against idle spinning. Writes OUT/figures.json.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
LOADS = ("idle", "busy")
# Variables that would decide for the stages.
OTHERS = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
# Another program that never waits.
LOOP = "while True: pass"
Times = Mapping[str, float]


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


def measured(project: Path, way: str, load: str) -> Times:
    """The seconds of each stage on a copy of the project, in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name not in OTHERS}
    with TemporaryDirectory() as folder:
        copy = shutil.copytree(project, Path(folder) / "project")
        command = [sys.executable, "-m", "benchmarks.parts.waiting", str(copy), *STAGES]
        options: Any = {"env": {**environment, **WAYS[way]}, "text": True, "check": True}
        if load == "idle":
            done = subprocess.run(command, stdout=subprocess.PIPE, **options)
        else:
            with busy_core():
                done = subprocess.run(command, stdout=subprocess.PIPE, **options)
    return json.loads(done.stdout.splitlines()[-1])


def figures(times: Mapping[tuple[str, str], list[Times]]) -> dict[str, dict[str, float]]:
    """By stage: seconds by way and load, the slowdown of each way, and what it costs when idle."""
    result: dict[str, dict[str, float]] = {}
    for stage in STAGES:
        values = {
            f"{way}_{load}": median(each[stage] for each in rounds)
            for (way, load), rounds in times.items()
        }
        for way in WAYS:
            idle, busy = values.get(f"{way}_idle"), values.get(f"{way}_busy")
            if idle and busy:
                values[f"{way}_slowdown"] = busy / idle
            if idle and (first := values.get("spinning_idle")) and way != "spinning":
                values[f"{way}_cost"] = idle / first
        result[stage] = values
    return result


def table(result: Mapping[str, Mapping[str, float]]) -> Table:
    """A row for each figure, a column for each stage."""
    shown = Table("figure", *STAGES)
    for name in result[STAGES[0]]:
        shown.add_row(name, *(f"{result[stage][name]:.3g}" for stage in STAGES))
    return shown


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.waiting", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--loads", nargs="+", choices=LOADS, default=list(LOADS))
    parser.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    times: dict[tuple[str, str], list[Times]] = {}
    with TemporaryDirectory() as folder:
        project = prepared(Path(folder))
        facts = machine_facts()
        for _ in range(given.rounds):
            for way in given.only:
                for load in given.loads:
                    times.setdefault((way, load), []).append(measured(project, way, load))
                    text = json.dumps({"machine": facts, **figures(times)}, indent=2)
                    (given.out / "figures.json").write_text(text + "\n")
    Console(width=110).print(table(figures(times)))


if __name__ == "__main__":
    main()
