"""Images made ready by several processes, in order; one that kills its process costs itself and no other."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from unidiff_cli import machine
from unidiff_cli.data.images import PreparedImage, prepare_image

CHUNK = 16  # images a task
AHEAD = 3  # tasks a process has waiting: bounds memory
FEW = 64  # images for which starting processes (0.4 s) does not pay

Source = Path | bytes
Result = PreparedImage | str
Work = Callable[[Source, int, int], Result]
DEADLY = "it kills the process that decodes it"


def each(
    sources: Iterable[Source],
    max_side: int,
    max_pixels: int,
    workers: int = 0,
    work: Work = prepare_image,
) -> Iterator[Result]:
    """`ready` of every source, in order, by so many processes (0: every core)."""
    workers = workers or machine.cores()
    stream = iter(sources)
    first = list(islice(stream, FEW + 1))
    if workers == 1 or len(first) <= FEW:
        for source in _chain(first, stream):
            yield work(source, max_side, max_pixels)
        return
    chunks = _chunks(_chain(first, stream))
    waiting: deque[tuple[list[Source], Future[list[Result]]]] = deque()
    pool = _pool(workers)
    try:
        while True:
            for chunk in islice(chunks, workers * AHEAD - len(waiting)):
                waiting.append((chunk, _submit(pool, chunk, max_side, max_pixels, work)))
            if not waiting:
                return
            chunk, future = waiting.popleft()
            try:
                yield from future.result()
            except BrokenProcessPool:
                pool.shutdown(wait=False)
                lost = [source for c in (chunk, *(c for c, _ in waiting)) for source in c]
                waiting.clear()
                yield from _one_by_one(lost, max_side, max_pixels, work)
                pool = _pool(workers)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _chain(first: list[Source], rest: Iterator[Source]) -> Iterator[Source]:
    while first:
        yield first.pop(0)
    yield from rest


def _chunks(stream: Iterator[Source]) -> Iterator[list[Source]]:
    while chunk := list(islice(stream, CHUNK)):
        yield chunk


def _several(chunk: list[Source], max_side: int, max_pixels: int, work: Work) -> list[Result]:
    return [work(source, max_side, max_pixels) for source in chunk]


def _one_by_one(
    sources: Iterable[Source], max_side: int, max_pixels: int, work: Work
) -> Iterator[Result]:
    """Each image in a process of its own, which lives until one kills it."""
    pool = _pool(1)
    try:
        for source in sources:
            try:
                yield from _submit(pool, [source], max_side, max_pixels, work).result()
            except BrokenProcessPool:
                pool.shutdown(wait=False)
                pool = _pool(1)
                yield DEADLY
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _submit(
    pool: ProcessPoolExecutor, chunk: list[Source], max_side: int, max_pixels: int, work: Work
) -> Future[list[Result]]:
    with _without_main():
        return pool.submit(_several, chunk, max_side, max_pixels, work)


def _pool(workers: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")  # a fork would copy torch's threads and locks
    return ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start, initargs=(os.getpid(),)
    )


@contextmanager
def _without_main() -> Iterator[None]:
    """Hides the caller's script from processes that start now.

    They would run it again: 3 s of `import torch`, or without `if __name__ == "__main__"` the whole of it.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _start(parent: int) -> None:
    """A new process: Ctrl-C is the parent's to handle, and it ends when the parent does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(parent)


def end_with_parent(parent: int) -> None:
    """Ends this process within a second after its parent, however that ended."""

    def follow_parent() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=follow_parent, daemon=True).start()
