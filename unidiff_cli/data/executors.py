"""Work over the sources of a catalogue, spread over processes and given back in order.

Another way to spread it is one more `Executor`, such as that of `ray_executor.py`; it must pass
`tests/data/test_contracts.py`.
"""

from __future__ import annotations

import multiprocessing
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import chain
from multiprocessing.process import BaseProcess
from typing import Any, Generic, Literal, TypeVar

from unidiff_cli import machine, processes, signals
from unidiff_cli.data import bounds

# Sources of one task.
CHUNK = 16
# Tasks that each process has waiting: bounds memory.
AHEAD = 3
# Sources for which starting processes (0.4 s) does not pay.
FEW = 64
# Seconds between two looks at processes that give no result.
PATIENCE = 0.2
# Bytes that waiting sources hold in memory, all of them and those of one task.
HELD, HELD_BY_ONE = 128 << 20, 16 << 20

# What spreads the work: processes of this machine, or a Ray cluster.
Engine = Literal["local", "ray"]
Source = TypeVar("Source")
Result = TypeVar("Result")


class Executor(ABC):
    """Does one piece of work for many sources.

    Results come in the order of the sources, whoever is fast. At most `ahead` sources are taken
    before their results are asked for, and fewer where they say (`held`) that they are large, so
    that memory does not grow with the catalogue. A source whose work ends a worker process costs
    itself and no other. An exception of the work is raised.
    Closing the iterator ends the work. The work and the sources must pickle.
    """

    @property
    @abstractmethod
    def ahead(self) -> int:
        """The most sources that are taken before their results are asked for."""

    @abstractmethod
    def map(
        self, work: Callable[[Source], Result], sources: Iterable[Source], crashed: Result
    ) -> Iterator[Result]:
        """The work's result of every source; `crashed` for one that ended its process."""


class ProcessExecutor(Executor):
    """Processes of this machine, one a core unless told.

    `seconds` of processor time and `memory` in bytes are what one source may cost; 0: any. A few
    sources are done without processes if all are light: if they are known to cost less. A process
    `gather`s the sources of a task before it works on them, such as to read them at a time.
    """

    def __init__(
        self,
        workers: int = 0,
        seconds: int = 0,
        memory: int = 0,
        is_light: Callable[[Any], bool] = lambda source: True,
        gather: Callable[[list[Any]], list[Any]] = list,
    ) -> None:
        self.workers = workers or machine.cores()
        self.seconds, self.memory, self.is_light = seconds, memory, is_light
        self.gather = gather

    @property
    def ahead(self) -> int:
        return FEW + 1 + self.workers * AHEAD * CHUNK

    def map(
        self, work: Callable[[Source], Result], sources: Iterable[Source], crashed: Result
    ) -> Iterator[Result]:
        stream = iter(sources)
        first, whole = _first(stream)
        if whole and all(map(self.is_light, first)):
            yield from map(work, _emptied(first))
            return
        bounded = Bounded(work, self.seconds, self.memory, self.gather)
        chunks = chunks_of(chain(_emptied(first), stream))
        waiting: deque[tuple[list[Source], Future[list[Result]]]] = deque()
        pool = _pool(self.workers)
        try:
            while True:
                while len(waiting) < self.workers * AHEAD and held_by(waiting) < HELD:
                    if not (chunk := next(chunks, None)):
                        break
                    waiting.append((chunk, _submitted(pool, bounded, chunk)))
                if not waiting:
                    return
                chunk, future = waiting.popleft()
                try:
                    yield from _result(pool, future)
                except BrokenProcessPool:
                    _end(pool)
                    unfinished = [chunk, *(other for other, _ in waiting)]
                    waiting.clear()
                    yield from _one_by_one(bounded, chain.from_iterable(unfinished), crashed)
                    pool = _pool(self.workers)
        finally:
            _end(pool)


def _emptied(first: list[Source]) -> Iterator[Source]:
    """The items of a list, which lets each go as it is taken."""
    while first:
        yield first.pop(0)


def _first(stream: Iterator[Source]) -> tuple[list[Source], bool]:
    """The first sources, and whether these are all: few, and small together."""
    first: list[Source] = []
    held = 0
    for source in stream:
        first.append(source)
        held += _bytes(source)
        if len(first) > FEW or held > HELD:
            return first, False
    return first, True


def chunks_of(stream: Iterator[Source], most: int = CHUNK) -> Iterator[list[Source]]:
    """The sources in tasks of `most`, which are shorter where they hold much memory."""
    chunk: list[Source] = []
    for source in stream:
        chunk.append(source)
        if len(chunk) == most or sum(map(_bytes, chunk)) > HELD_BY_ONE:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def held_by(waiting: Iterable[tuple[list[Source], Any]]) -> int:
    """Bytes that the sources of waiting tasks hold in memory."""
    return sum(_bytes(source) for chunk, _ in waiting for source in chunk)


def _bytes(source: object) -> int:
    """Bytes that a source says it holds in memory."""
    return int(getattr(source, "held", 0))


class Bounded(Generic[Source, Result]):
    """Work that may cost so much for each source, in the worker process that gets it."""

    def __init__(
        self,
        work: Callable[[Source], Result],
        seconds: int,
        memory: int,
        gather: Callable[[list[Source]], list[Source]],
    ) -> None:
        self._work, self._seconds, self._memory = work, seconds, memory
        self._gather = gather

    def each(self, chunk: list[Source]) -> list[Result]:
        """The results of a task."""
        return [self(source) for source in self._gather(chunk)]

    def __call__(self, source: Source) -> Result:
        global _is_limited
        if not _is_limited:
            bounds.limit_memory(self._memory)
            _is_limited = True
        with bounds.processor_seconds(self._seconds):
            return self._work(source)


# Whether the memory of this process is limited: once, when what it needs is imported.
_is_limited = False


def _one_by_one(
    work: Bounded[Source, Result], sources: Iterable[Source], crashed: Result
) -> Iterator[Result]:
    """Each source in a process of its own, which lives until a source ends it."""
    pool = _pool(1)
    try:
        for source in sources:
            try:
                yield from _result(pool, _submitted(pool, work, [source]))
            except BrokenProcessPool:
                _end(pool)
                pool = _pool(1)
                yield crashed
    finally:
        _end(pool)


def _submitted(
    pool: ProcessPoolExecutor, work: Bounded[Source, Result], chunk: list[Source]
) -> Future[list[Result]]:
    """The future of a chunk; one that fails where a source ended a process meanwhile."""
    try:
        # A signal in the middle of it would leave a lock of the pool taken.
        with signals.held(), processes.starting():
            return pool.submit(work.each, chunk)
    except BrokenProcessPool as problem:
        future: Future[list[Result]] = Future()
        future.set_exception(problem)
        return future


def _result(pool: ProcessPoolExecutor, future: Future[list[Result]]) -> list[Result]:
    """The results of a chunk.

    A process that is killed in the middle of sending a result is not noticed by the pool.
    Raises BrokenProcessPool where a process of the pool has ended.
    """
    with signals.held():
        while not wait([future], PATIENCE).done:
            signals.check(even_held=True)
            if any(process.exitcode is not None for process in _processes(pool)):
                raise BrokenProcessPool
    return future.result()


def _pool(workers: int) -> ProcessPoolExecutor:
    with processes.starting():
        # A fork would copy torch's threads and locks.
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(
            workers,
            mp_context=context,
            initializer=processes.end_with_parent,
            initargs=(os.getpid(),),
        )


def _processes(pool: ProcessPoolExecutor) -> list[BaseProcess]:
    return list((pool._processes or {}).values())


def _end(pool: ProcessPoolExecutor) -> None:
    """Ends a pool at once, if it lives; a chunk of large images takes longer than one waits."""
    # Python 3.14 has `kill_workers`, which waits for the other half of a result for ever.
    for process in _processes(pool):
        process.kill()
    # The pool sees the end of half a result only when nobody can write the other half.
    if pool._result_queue:
        pool._result_queue._writer.close()  # type: ignore[attr-defined]
    pool.shutdown(wait=True, cancel_futures=True)
