"""`unidiff prepare` of a catalogue that somebody means to hurt it with: its exit, time, memory."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PROGRAM = (sys.executable, "-m", "unidiff_cli.cli")
# What any single hostile input may cost.
SECONDS, RESIDENT = 90, 2 << 30
# Of each process: what it reserves and never touches counts too.
ADDRESSES = 6 << 30


class Outcome(NamedTuple):
    """What a command did; `resident` is the most memory of any of its processes, in bytes."""

    code: int
    text: str
    seconds: float
    resident: int
    # The reasons of the quarantine, in its order.
    reasons: list[str]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`unidiff` with these arguments, in a process of its own."""
    return subprocess.run(
        [*PROGRAM, *arguments], capture_output=True, text=True, timeout=SECONDS, env=environment()
    )


def prepare(catalogue: Path, *options: str, limit: float = SECONDS) -> Outcome:
    """Prepares a catalogue; the project lies beside it. Fails the test where it hangs."""
    project = catalogue.with_name(f"{catalogue.name}-project")
    start, output = time.monotonic(), project.with_suffix(".txt")
    with open(output, "wb") as stream:
        process = subprocess.Popen(
            [*PROGRAM, "-C", project, "prepare", catalogue, "--max-bad", "0.999", *options],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env=environment(),
            preexec_fn=limit_addresses,
        )
        resident = _ended(process, start + limit)
    seconds = time.monotonic() - start
    text = output.read_text(errors="replace")
    assert "Traceback" not in text, text
    lists = [
        file
        for file in (project / "shards", project / "cache" / "prepare")
        for file in file.glob("quarantine.*")
    ]
    reasons = [json.loads(line)["reason"] for line in lists[0].open()] if lists else []
    return Outcome(process.returncode, text, seconds, resident, reasons)


def limit_addresses() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@contextmanager
def seconds(most: int) -> Iterator[None]:
    """Fails the test where the block takes longer, in Python code."""

    def late(*_: object) -> None:
        raise AssertionError(f"it takes more than {most} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(most)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _ended(process: subprocess.Popen, deadline: float) -> int:
    """The most memory of a process and its children until it ends, which it must in time."""
    resident = 0
    while process.poll() is None:
        if time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise AssertionError("it hangs")
        resident = max(resident, *(_resident(pid) for pid in _family(process.pid)))
        time.sleep(0.02)
    return resident


def _family(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return [pid]
    return [pid, *(member for child in children for member in _family(int(child)))]


def _resident(pid: int) -> int:
    """The most memory that a process had so far, in bytes; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM")), 0)


def assert_within_bounds(outcome: Outcome) -> None:
    assert outcome.seconds < SECONDS and outcome.resident < RESIDENT, outcome
