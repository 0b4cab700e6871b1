"""Starts processes: what they may import, which signals reach them and when they end.

A child imports from where its parent does, but never from the working directory, which may be a
stranger's catalogue. Ending signals are held back from it until it asks for them, so Ctrl-C is its
parent's to handle. It ends with its parent, however that ends, and until then it holds the locks
of its parent. `start` and `starting` are the only ways to a child.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import site
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from unidiff_cli import signals
from unidiff_cli.errors import Interrupted, Stated, WorkError
from unidiff_cli.system import translated

Child = subprocess.Popen[bytes]

# Where this package was found.
ROOT = str(Path(__file__).parents[1])
# The variable that names a child's parent.
PARENT = "UNIDIFF_PARENT"
# What a child that failed leaves in its folder.
FAILURE = ".failure.json"
# Of Linux's prctl: the signal that a process gets when its parent ends.
PR_SET_PDEATHSIG = 1

# Descriptors of locks that children started by `start` hold too.
_locks: list[int] = []


# ---------------------------------------------------------------- starting


def start(
    module: str, arguments: list[str], folder: Path, output: Path, threads: int, **variables: str
) -> Child:
    """Starts a process in a session of its own that calls the `main` of a module.

    An error of it is left in the folder, and what it prints is appended to a file. `threads` is for
    torch, unless the environment says how many.
    """
    environment = {"OMP_NUM_THREADS": str(max(1, threads)), **_environment(), **variables}
    with open(output, "ab") as stream, _signals_held_back():
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "unidiff_cli.processes", module, str(folder), *arguments],
            env={**environment, PARENT: str(os.getpid())},
            stdout=stream,
            stderr=stream,
            start_new_session=True,
            pass_fds=_locks,
        )


@contextmanager
def starting() -> Iterator[None]:
    """Within it multiprocessing and torch start processes of the same kind.

    The caller's script is hidden from them. They would run it again: 3 s of `import torch`, or
    without `if __name__ == "__main__"` the whole of it.
    """
    from multiprocessing import resource_tracker

    path, main, environment = sys.path, sys.modules["__main__"], dict(os.environ)
    sys.path, sys.modules["__main__"] = _import_path(), types.ModuleType("__main__")
    os.environ.update(_environment())
    try:
        with _signals_held_back():
            # The process that cleans up after the others. Starting it unblocks two signals.
            resource_tracker.ensure_running()
            signal.pthread_sigmask(signal.SIG_BLOCK, signals.ENDING)
            yield
    finally:
        sys.path, sys.modules["__main__"] = path, main
        for name in ("PYTHONSAFEPATH", "PYTHONPATH"):
            os.environ.pop(name)
            if name in environment:
                os.environ[name] = environment[name]


def _import_path() -> list[str]:
    """Where this process looks for modules, without the working directory.

    Python puts it there for `-m` and `-c`, and for an empty part of PYTHONPATH.
    """
    here, named = os.path.realpath("."), {ROOT, *_python_path()}
    return [
        path
        for path in sys.path
        if path in named or (os.path.isabs(path) and os.path.realpath(path) != here)
    ]


def _environment() -> dict[str, str]:
    """The environment of a child: PYTHONPATH without what is relative to the working directory."""
    path = _python_path()
    if ROOT not in (*path, *site.getsitepackages(), site.getusersitepackages()):
        path.append(ROOT)
    return {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(path)}


def _python_path() -> list[str]:
    """The absolute parts of PYTHONPATH."""
    return [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if os.path.isabs(p)]


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Blocks the ending signals in this thread; what starts within it has them blocked too."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals.ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# ---------------------------------------------------------------- ending


def end_with_parent(parent: int) -> None:
    """Ends this process with its parent, the process of that number, however that ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        return

    def follow_parent() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=follow_parent, daemon=True).start()


def end(children: Iterable[Child]) -> None:
    """Ends children at once, and returns when none is left."""
    for child in children:
        child.kill()
    for child in children:
        child.wait()


def lives(process: int) -> bool:
    """Whether a process of that number runs, of whatever user."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


@contextmanager
def holding(lock: int) -> Iterator[None]:
    """Children that start within it hold the descriptor of a lock until they end."""
    _locks.append(lock)
    try:
        yield
    finally:
        _locks.remove(lock)


# ---------------------------------------------------------------- in the child


def _main(module: str, folder: str, *arguments: str) -> int:
    """All that a process that `start` started does. Signals end it before its module is there."""
    end_with_parent(int(os.environ.pop(PARENT)))
    signals.start()
    try:
        return run(Path(folder), lambda: import_module(module).main(*arguments))
    finally:
        _end_of_multiprocessing()


def _end_of_multiprocessing() -> None:
    """Ends what multiprocessing started, which waits for it at the exit of this process.

    It asks with SIGTERM, which is held back from them: the wait would have no end.
    """
    from multiprocessing import active_children

    # torch takes the end of a loader's process for a failure.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for child in active_children():
        child.kill()


def run(folder: Path, work: Callable[[], None]) -> int:
    """Does the work, and returns the exit code of this process.

    An error is left in the folder for the parent, one of the system or a library in our words; a
    mistake of ours is raised, and its traceback stands in the output.
    """
    try:
        work()
    except (Stated, Exception) as problem:
        ours = problem if isinstance(problem, Stated) else translated(problem)
        if ours is None:
            raise
        leave(folder, ours)
        return ours.exit_code
    return 0


def leave(folder: Path, problem: Stated) -> None:
    """Leaves a child's error for its parent."""
    value = {"fact": problem.fact, "action": problem.action, "exit_code": problem.exit_code}
    (folder / FAILURE).write_text(json.dumps(value), encoding="utf-8")


def left(folder: Path) -> Stated | None:
    """The error that a child left in the folder, taken away from there."""
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


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
