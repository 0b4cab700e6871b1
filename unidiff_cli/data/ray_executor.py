"""Work over the sources or images of a catalogue, spread over the nodes of a Ray cluster.

Ray does the scheduling: it starts a task on a node with a free processor, and again elsewhere where
a node is lost. The nodes need this package and, for files, the same paths.
"""

from __future__ import annotations

import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from unidiff_cli import signals
from unidiff_cli.data.executors import (
    AHEAD,
    CHUNK,
    HELD,
    PATIENCE,
    Bounded,
    Executor,
    Result,
    Source,
    chunks_of,
    held_by,
)
from unidiff_cli.errors import EnvironmentProblem
from unidiff_cli.system import first_line

# How often Ray starts a task again whose process or node was lost.
RETRIES = 2
# Seconds in which a cluster has to answer.
ANSWER = 10


class RayExecutor(Executor):
    """Tasks of a Ray cluster, each with one processor.

    `address` is that of a running cluster (`host:6379`, `ray://host:10001`, `auto`); "" starts one
    on this machine. `seconds`, `memory` and `gather` are those of `ProcessExecutor`. A task whose
    process is lost again and again is taken apart, so that only the source at fault counts as
    crashed. `chunk` sources make a task. `accelerated` work gets a GPU for each task where the
    cluster has any, and its processes stay, with what they loaded. Raises EnvironmentProblem where
    Ray is not installed or no cluster answers.
    """

    def __init__(
        self,
        address: str = "",
        seconds: int = 0,
        memory: int = 0,
        gather: Callable[[list[Any]], list[Any]] = list,
        chunk: int = CHUNK,
        accelerated: bool = False,
    ) -> None:
        self._ray = connected(address)
        self.seconds, self.memory, self.gather, self.chunk = seconds, memory, gather, chunk
        has = self._ray.cluster_resources()
        self._gpus = int(accelerated and has.get("GPU", 0) > 0)
        # A node may come or go later; so many tasks wait at a time.
        self._tasks = AHEAD * max(1, int(has.get("GPU" if self._gpus else "CPU", 1)))

    @property
    def ahead(self) -> int:
        return self._tasks * self.chunk

    def map(
        self, work: Callable[[Source], Result], sources: Iterable[Source], crashed: Result
    ) -> Iterator[Result]:
        ray = self._ray
        # Ray ends a process with a GPU after each task otherwise.
        options = {"num_gpus": 1, "max_calls": 0} if self._gpus else {}
        task = ray.remote(num_cpus=1, max_retries=RETRIES, **options)(_each)
        bounded = ray.put(Bounded(work, self.seconds, self.memory, self.gather))
        chunks = chunks_of(iter(sources), self.chunk)
        waiting: deque[tuple[list[Source], Any]] = deque()
        try:
            while True:
                while len(waiting) < self._tasks and held_by(waiting) < HELD:
                    if not (chunk := next(chunks, None)):
                        break
                    waiting.append((chunk, task.remote(bounded, chunk)))
                if not waiting:
                    return
                chunk, future = waiting.popleft()
                results = self._result(future)
                if results is not None:
                    yield from results
                    continue
                for source in chunk:
                    alone = self._result(task.remote(bounded, [source]))
                    yield crashed if alone is None else alone[0]
        finally:
            for _, future in waiting:
                ray.cancel(future, force=True)

    def _result(self, future: Any) -> list[Any] | None:
        """The results of a task; None where its process was lost too often."""
        exceptions = self._ray.exceptions
        while not self._ray.wait([future], timeout=PATIENCE)[0]:
            signals.check()
        try:
            results: list[Any] = self._ray.get(future)
            return results
        except exceptions.RayTaskError as problem:
            raise problem.cause from None
        except (
            exceptions.WorkerCrashedError,
            exceptions.NodeDiedError,
            exceptions.OutOfMemoryError,
            exceptions.ObjectLostError,
        ):
            return None


def connected(address: str) -> Any:
    """The module `ray`, connected to a cluster. Raises EnvironmentProblem."""
    # Before the import: it reports its use to its makers otherwise.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise EnvironmentProblem(
            "Ray is not installed.", "Install it: pip install 'unidiff-cli[ray]'"
        ) from None
    if ray.is_initialized():
        return ray
    try:
        _knock(address)
        ray.init(
            address=address or None,
            # Its services listen to this machine alone.
            _node_ip_address=None if address else "127.0.0.1",
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    # Ray raises ConnectionError, RuntimeError, ValueError and its own.
    except Exception as problem:
        words = first_line(problem) or "no answer"
        raise EnvironmentProblem(
            f"The Ray cluster {address or 'of this machine'} cannot be reached: {words}.",
            "Check --address, or leave out --engine ray.",
        ) from problem
    return ray


def _knock(address: str) -> None:
    """Raises OSError where nobody listens at an address: Ray tries that for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), ANSWER).close()


def _each(work: Bounded[Source, Result], chunk: list[Source]) -> list[Result]:
    return work.each(chunk)
