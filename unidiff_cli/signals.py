"""Handles the signals that end a command, so that nothing they meet is half-counted.

A process of ours calls `start` first. From then on an ending signal raises Interrupted in the main
thread, or within `held` is only remembered. Interrupted is no Exception, and a library that
swallows it nonetheless does not save the command: `check` stands between the units of work, before
a folder is closed, and at the end.

While modules are imported it waits: C++ code that imports some, as torch's does, ends the process
where they raise.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from unidiff_cli.errors import Interrupted

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)

# Seconds that a signal waits for an import at most, and between two looks whether it is over.
IMPORT, LOOK = 3.0, 0.05
IMPORTER = "<frozen importlib._bootstrap>"

# Until when one waits.
_latest = 0.0
# Those that came since the process started, in a process that is not ours since `held` began.
_caught: list[int] = []
_started = _held = False


def start() -> None:
    """Makes an ending signal raise Interrupted in this process, which is one of ours."""
    global _started
    _started = True
    signal.signal(signal.SIGALRM, _look)
    _handle(_raise)
    reported = sys.unraisablehook

    def report(problem: Any) -> None:
        # One that came while a finaliser ran: the next `check` raises it again.
        if not isinstance(problem.exc_value, Interrupted):
            reported(problem)

    sys.unraisablehook = report
    # The process that started this one held them back until now.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def finish() -> None:
    """Makes ending signals come too late: the work is over, and Python takes its time to end."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    _handle(signal.SIG_IGN)


def caught() -> int:
    """The first ending signal that came, or 0."""
    return _caught[0] if _caught else 0


def check(even_held: bool = False) -> None:
    """Raises Interrupted where an ending signal came. It stands between two units of work.

    Within `held` it does so only where the work can be taken up there: with `even_held`.
    """
    if _caught and (even_held or not _held):
        raise _interrupted()


@contextmanager
def held() -> Iterator[Callable[[], int]]:
    """Within it an ending signal is only remembered: the call gives the first, or 0.

    At its end it raises Interrupted, unless the work did. A second SIGINT does so at once. One that
    lies in another leaves all this to the outer one.
    """
    global _held
    is_main = threading.current_thread() is threading.main_thread()
    if _held or not is_main:
        yield caught if is_main else lambda: 0
        return
    before, _held = _handle(_remember), True
    try:
        yield caught
        _held = False
        check()
    finally:
        _held = False
        for signum, handler in before.items():
            signal.signal(signum, handler)
        # A caller of the library who was interrupted may go on.
        if not _started:
            _caught.clear()


def _handle(handler: Callable[[int, Any], None] | signal.Handlers) -> dict[int, Any]:
    """Sets the handler of the ending signals; those that had another."""
    # `nohup`, or a shell's `&`, ignores some on purpose; None is a handler that is not Python's.
    kept = (signal.SIG_IGN, None)
    changed = [signum for signum in ENDING if signal.getsignal(signum) not in kept]
    return {signum: signal.signal(signum, handler) for signum in changed}


def _raise(signum: int, frame: Any) -> None:
    """Raises the first signal. Another one would only break what the first one cleans up."""
    global _latest
    first = not _caught
    _remember(signum, frame)
    if first:
        _latest = time.monotonic() + IMPORT
        _look(signum, frame)


def _look(signum: int, frame: Any) -> None:
    """Raises the first signal, or looks again soon where modules are imported. `held` raises it at
    its own end."""
    if _held:
        return
    if time.monotonic() < _latest and _is_importing(frame):
        signal.setitimer(signal.ITIMER_REAL, LOOK)
        return
    raise _interrupted()


def _is_importing(frame: Any) -> bool:
    """Whether a frame lies within an import."""
    while frame is not None and frame.f_code.co_filename != IMPORTER:
        frame = frame.f_back
    return frame is not None


def _remember(signum: int, frame: Any) -> None:
    again = signal.SIGINT in _caught and signum == signal.SIGINT
    _caught.append(signum)
    if again:
        raise _interrupted()


def _interrupted() -> Interrupted:
    if _started:
        signal.setitimer(signal.ITIMER_REAL, 0)
    name = signal.Signals(caught()).name
    return Interrupted(caught(), f"Interrupted by {name}; finished folders are as they were.")
