"""The command as a process of its own: what it starts, what that listens on, and what it leaves."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psutil

# What a shell starts with `&` has SIGINT ignored, and nohup SIGHUP: it would stay so.
COMMAND = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from unidiff_cli.cli import main
main()
"""


@contextmanager
def unidiff(project, *arguments, code=COMMAND, **options):
    """A running `unidiff -C project …`; nothing that it started is left."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", code, "-C", str(project), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **options.pop("env", {})},
        start_new_session=True,
        **options,
    )
    try:
        yield process
    finally:
        children = started_by(process)
        for each in (process, *children):
            each.kill()
        process.communicate()
        gone(children)


def ended(process, timeout=120):
    """The exit code of a process, its output and its errors."""
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def started_by(process):
    """All processes that one started, and those they started."""
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def gone(processes, timeout=5):
    """Whether all of these ended in time. Whoever inherits one may not ask how it ended."""
    latest = time.monotonic() + timeout
    while any(map(_lives, processes)):
        if time.monotonic() > latest:
            return False
        time.sleep(0.05)
    return True


def _lives(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def listening(process):
    """The addresses that a process and those it started listen on."""
    addresses = set()
    for each in (psutil.Process(process.pid), *started_by(process)):
        try:
            connections = each.net_connections(kind="inet")
        except psutil.NoSuchProcess:
            continue
        addresses |= {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN}
    return addresses


def wait_until(condition, process=None, timeout=150):
    """Waits for a condition, as long as the process runs."""
    latest = time.monotonic() + timeout
    while not condition():
        assert process is None or process.poll() is None, ended(process)
        assert time.monotonic() < latest, "not in time"
        time.sleep(0.05)


def settings(*assignments):
    """The words of a command for assignments of a recipe's keys."""
    return [word for assignment in assignments for word in ("--set", assignment)]


def handles_signals(process):
    """Whether our code runs already in a process: Python itself handles no SIGUSR1."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return process.poll() is not None or caught >> (signal.SIGUSR1 - 1) & 1
