"""Work on the next batches in threads, while the caller works on the one before."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from unidiff_cli import machine

# Items of one call: few, so that all threads work on the next batch.
PIECE = 8
# Batches that are worked on ahead: bounds memory.
AHEAD = 2

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    work: Callable[[Sequence[Item]], Result], items: Sequence[Item], batch_size: int
) -> Iterator[list[Result]]:
    """The results of each batch of items in order, one for every PIECE of them.

    What the work raises is raised where its batch is asked for.
    """
    with ThreadPoolExecutor(machine.cores()) as threads:
        waiting: deque[list[Future[Result]]] = deque()
        try:
            for start in range(0, len(items), batch_size):
                batch = items[start : start + batch_size]
                pieces = [batch[place : place + PIECE] for place in range(0, len(batch), PIECE)]
                waiting.append([threads.submit(work, piece) for piece in pieces])
                if len(waiting) > AHEAD:
                    yield [future.result() for future in waiting.popleft()]
            while waiting:
                yield [future.result() for future in waiting.popleft()]
        finally:
            threads.shutdown(wait=True, cancel_futures=True)
