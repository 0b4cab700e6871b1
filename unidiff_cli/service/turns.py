"""Turns at the device: one search at a time, a bounded number of them waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from anyio import to_thread

from unidiff_cli.service.guard import Refused

Result = TypeVar("Result")


class Turns:
    """Work that is done in a thread, one after another."""

    def __init__(self, waiting: int, patience: float) -> None:
        """So many may wait, each for so many seconds."""
        self._most, self._patience = waiting, patience
        self._one = asyncio.Lock()
        self.waiting = 0

    async def __call__(self, work: Callable[..., Result], *args: object, **named: object) -> Result:
        """The result of work. Raises Refused where too many wait, or it waits too long."""
        if self.waiting >= self._most:
            raise Refused(429, "Too many searches are waiting. Try again.", retry=True)
        self.waiting += 1
        try:
            await asyncio.wait_for(self._one.acquire(), self._patience)
        except TimeoutError:
            raise Refused(429, "The search waited too long. Try again.", retry=True) from None
        finally:
            self.waiting -= 1
        try:
            return await to_thread.run_sync(partial(work, *args, **named))
        finally:
            self._one.release()
