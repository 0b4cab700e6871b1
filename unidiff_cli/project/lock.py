"""Locks a project: one writer, and none as long as a process lives that the last one started.

The kernel keeps it, so nothing is left of it after a kill. The file holds the writer's number.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unidiff_cli import processes

# Seconds that the processes of a killed writer have to end.
GRACE = 10
INTERVAL = 0.1


class Taken(Exception):
    """Another process holds the lock: its number, or that of the one that started it."""


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Holds a file locked, in this process and those that `processes.start` starts meanwhile.

    Raises Taken where another one holds it, and OSError where it cannot be written.
    """
    # A link is refused: the file is written.
    lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        _take(lock)
        _write(lock, str(os.getpid()))
        try:
            with processes.holding(lock):
                yield
        finally:
            _write(lock, "")
    finally:
        os.close(lock)


def _take(lock: int) -> None:
    latest = time.monotonic() + GRACE
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 32, 0).decode(errors="replace").strip()
            if time.monotonic() > latest or (holder.isdecimal() and processes.lives(int(holder))):
                raise Taken(holder or "unknown") from None
        time.sleep(INTERVAL)


def _write(lock: int, text: str) -> None:
    os.ftruncate(lock, 0)
    os.pwrite(lock, text.encode(), 0)
