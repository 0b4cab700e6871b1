"""Starts the processes of a training run, passes signals on to them and takes their errors."""

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
# Seconds a stopped process has to save: torchrun's own 30 are less than 20 GB take.
GRACE = 7200


@contextmanager
def interruptions() -> Iterator[Callable[[], int]]:
    """Within it SIGINT and SIGTERM are only remembered: the call gives the first, or 0.

    A second SIGINT stops at once.
    """
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
    module: str, arguments: list[str], count: int, folder: Path, poll: Callable[[], None]
) -> None:
    """Runs `python -m module arguments` in `count` processes that find each other.

    `poll` is called five times a second. Their output goes to folder/workers.log; a signal to this
    process is passed on; the error a process leaves with `leave` is raised here. torchrun starts
    them, since `accelerate launch --cpu` starts a single process and says nothing (accelerate
    1.15); accelerate finds the processes by the environment either way.
    """
    failure = folder / FAILURE
    failure.unlink(missing_ok=True)
    options = ["--standalone", f"--nproc-per-node={count}", f"--shutdown-timeout={GRACE}"]
    with interruptions() as caught:
        process = start_process(
            "torch.distributed.run",
            [*options, "-m", module, *arguments],
            folder / "workers.log",
            machine.cores() // count,
        )
        try:
            _wait(process, caught, poll)
        finally:
            # After an error of this process: none that it launched outlives the lock.
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()
    poll()
    if problem := left(folder):
        raise problem
    if process.returncode:
        raise WorkError(
            f"A training process ended with {process.returncode}.",
            f"Its output: {folder / 'workers.log'}",
        )


def start_process(
    module: str, arguments: list[str], output: Path, threads: int
) -> subprocess.Popen[bytes]:
    """Starts `python -m module arguments` in a session of its own, where no Ctrl-C reaches it.

    Its output is appended to a file. `threads` is for torch, unless the environment says how many.
    """
    environment = {"OMP_NUM_THREADS": str(max(1, threads)), **os.environ}
    with open(output, "ab") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=environment,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )


def _wait(
    process: subprocess.Popen[bytes], caught: Callable[[], int], poll: Callable[[], None]
) -> None:
    sent = False
    while process.poll() is None:
        if caught() and not sent:
            os.killpg(process.pid, caught())
            sent = True
        time.sleep(0.2)
        poll()


def leave(folder: Path, problem: UnidiffError) -> None:
    """Leaves a process's error for the one that launched it."""
    value = {"fact": problem.fact, "action": problem.action, "exit_code": problem.exit_code}
    write_json(folder / FAILURE, value)


def left(folder: Path) -> UnidiffError | None:
    """The error that a process left in the folder, taken away from there."""
    failure = folder / FAILURE
    if not failure.exists():
        return None
    values: dict[str, Any] = json.loads(failure.read_text(encoding="utf-8"))
    failure.unlink()
    fact, action, exit_code = values["fact"], values["action"], values["exit_code"]
    if exit_code > 128:
        return Interrupted(exit_code - 128, fact, action)
    problem = WorkError(fact, action)
    problem.exit_code = exit_code
    return problem
