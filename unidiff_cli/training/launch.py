"""Starting several training processes, and stopping one or many of them whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unidiff_cli import machine
from unidiff_cli.errors import Interrupted, UnidiffError, WorkError
from unidiff_cli.project.files import write_json

FAILURE = ".failure.json"
GRACE = 7200  # seconds a stopped process gets to save: torchrun's own 30 are less than 20 GB take


@contextmanager
def interruptions() -> Iterator[Callable[[], int]]:
    """Within it SIGINT and SIGTERM are only remembered: the call gives the first, or 0. A second SIGINT stops at once."""
    caught: list[int] = []

    def remember(signum: int, frame: Any) -> None:
        if caught and signum == signal.SIGINT:
            raise KeyboardInterrupt
        caught.append(signum)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return
    before = {s: signal.signal(s, remember) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: caught[0] if caught else 0
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def launch(
    module: str, arguments: list[str], count: int, folder: Path, watch: Callable[[], None]
) -> None:
    """Runs `python -m module arguments` in `count` processes that find each other, calling `watch` five times a second.

    Their output goes to folder/workers.log; a signal to this process is passed on; the sentence a process leaves
    with `leave` is raised here. torchrun starts them, since `accelerate launch --cpu` starts a single process and says
    nothing (accelerate 1.15); accelerate finds the processes by the environment either way.
    """
    failure = folder / FAILURE
    failure.unlink(missing_ok=True)
    threads = max(1, machine.cores() // count)
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={count}",
    ]
    command += [f"--shutdown-timeout={GRACE}", "-m", module]
    env = {"OMP_NUM_THREADS": str(threads), **os.environ}
    with open(folder / "workers.log", "ab") as output, interruptions() as stopped:
        process = subprocess.Popen(
            [*command, *arguments], env=env, stdout=output, stderr=output, start_new_session=True
        )
        try:
            _wait(process, stopped, watch)
        finally:
            if process.poll() is None:  # our own error: no process of ours outlives the lock
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()
    watch()
    if problem := left(folder):
        raise problem
    if process.returncode:
        raise WorkError(
            f"A training process ended with {process.returncode}.",
            f"Its output: {folder / 'workers.log'}",
        )


def _wait(
    process: subprocess.Popen[bytes], stopped: Callable[[], int], watch: Callable[[], None]
) -> None:
    sent = False
    while process.poll() is None:
        if stopped() and not sent:
            os.killpg(process.pid, stopped())
            sent = True
        time.sleep(0.2)
        watch()


def leave(folder: Path, problem: UnidiffError) -> None:
    """Leaves a process's error for the one that launched it."""
    value = {"fact": problem.fact, "action": problem.action, "exit_code": problem.exit_code}
    write_json(folder / FAILURE, value)


def left(folder: Path) -> UnidiffError | None:
    """The error that a process left in the folder, taken away from there."""
    failure = folder / FAILURE
    if not failure.exists():
        return None
    found: dict[str, Any] = json.loads(failure.read_text(encoding="utf-8"))
    failure.unlink()
    if found["exit_code"] > 128:
        return Interrupted(found["exit_code"] - 128, found["fact"], found["action"])
    problem = WorkError(found["fact"], found["action"])
    problem.exit_code = found["exit_code"]
    return problem
