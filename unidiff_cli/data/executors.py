"""Work over the sources of a catalogue, spread over processes and given back in order.

Another way to spread it (Ray, threads) is one more `Executor`; it must pass
`tests/data/test_contracts.py`.
"""

from __future__ import annotations

import multiprocessing
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from typing import TypeVar

from unidiff_cli import machine, processes

# Sources of one task.
CHUNK = 16
# Tasks that each process has waiting: bounds memory.
AHEAD = 3
# Sources for which starting processes (0.4 s) does not pay.
FEW = 64

Source = TypeVar("Source")
Result = TypeVar("Result")


class Executor(ABC):
    """Does one piece of work for many sources.

    Results come in the order of the sources, whoever is fast. At most `ahead` sources are taken
    before their results are asked for, so that memory does not grow with the catalogue. A source
    whose work ends a worker process costs itself and no other. An exception of the work is raised.
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
    """Processes of this machine, one a core unless told; a few sources are done without them."""

    def __init__(self, workers: int = 0) -> None:
        self.workers = workers or machine.cores()

    @property
    def ahead(self) -> int:
        return FEW + 1 + self.workers * AHEAD * CHUNK

    def map(
        self, work: Callable[[Source], Result], sources: Iterable[Source], crashed: Result
    ) -> Iterator[Result]:
        stream = iter(sources)
        first = list(islice(stream, FEW + 1)) if self.workers > 1 else []
        if len(first) <= FEW:
            yield from (work(source) for source in chain(_emptied(first), stream))
            return
        chunks = _chunks(chain(_emptied(first), stream))
        waiting: deque[tuple[list[Source], Future[list[Result]]]] = deque()
        pool = _pool(self.workers)
        try:
            while True:
                for chunk in islice(chunks, self.workers * AHEAD - len(waiting)):
                    waiting.append((chunk, _submitted(pool, work, chunk)))
                if not waiting:
                    return
                chunk, future = waiting.popleft()
                try:
                    yield from future.result()
                except BrokenProcessPool:
                    pool.shutdown(wait=False)
                    unfinished = [chunk, *(other for other, _ in waiting)]
                    waiting.clear()
                    yield from _one_by_one(work, chain.from_iterable(unfinished), crashed)
                    pool = _pool(self.workers)
        except BaseException:
            _kill(pool)
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _emptied(first: list[Source]) -> Iterator[Source]:
    """The items of a list, which lets each go as it is taken."""
    while first:
        yield first.pop(0)


def _chunks(stream: Iterator[Source]) -> Iterator[list[Source]]:
    while chunk := list(islice(stream, CHUNK)):
        yield chunk


def _of_each(work: Callable[[Source], Result], chunk: list[Source]) -> list[Result]:
    return [work(source) for source in chunk]


def _one_by_one(
    work: Callable[[Source], Result], sources: Iterable[Source], crashed: Result
) -> Iterator[Result]:
    """Each source in a process of its own, which lives until a source ends it."""
    pool = _pool(1)
    try:
        for source in sources:
            try:
                yield from _submitted(pool, work, [source]).result()
            except BrokenProcessPool:
                pool.shutdown(wait=False)
                pool = _pool(1)
                yield crashed
    except BaseException:
        _kill(pool)
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _submitted(
    pool: ProcessPoolExecutor, work: Callable[[Source], Result], chunk: list[Source]
) -> Future[list[Result]]:
    """The future of a chunk; one that fails where a source ended a process meanwhile."""
    try:
        with processes.starting():
            return pool.submit(_of_each, work, chunk)
    except BrokenProcessPool as problem:
        future: Future[list[Result]] = Future()
        future.set_exception(problem)
        return future


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


def _kill(pool: ProcessPoolExecutor) -> None:
    """Ends the processes of a pool at once; a chunk of large images takes longer than one waits."""
    # Python 3.14 has `kill_workers`.
    for process in list((pool._processes or {}).values()):
        process.kill()
