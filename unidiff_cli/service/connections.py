"""Connections whose clients must say in time what they want.

uvicorn bounds the time between two requests only: a client that opens a connection and sends
nothing, or a byte of a request now and then, would hold it for ever. A body has its own bounds in
`guard.py`; what is sent after an answer, as the rest of a refused body, has this one.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol


def connections(patience: float) -> type[H11Protocol]:
    """uvicorn's protocol, which closes a connection without a whole head for so many seconds."""

    class Connection(H11Protocol):
        _late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._await_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._await_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._forget()
            super().connection_lost(exc)

        def _await_head(self) -> None:
            """Begins to wait for a head, goes on doing so, or ends it where one is there."""
            if self.cycle is not None and not self.cycle.response_complete:
                self._forget()
            elif self._late is None and not self.transport.is_closing():
                self._late = self.loop.call_later(patience, self.timeout_keep_alive_handler)

        def _forget(self) -> None:
            if self._late is not None:
                self._late.cancel()
                self._late = None

    return Connection
