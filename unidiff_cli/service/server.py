"""Runs the service until a signal ends it, and lets every request that runs come to its end."""

from __future__ import annotations

import logging
import math
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import uvicorn
from fastapi import FastAPI

from unidiff_cli import signals
from unidiff_cli.errors import EnvironmentProblem, UsageError
from unidiff_cli.models.encoders import CLIP
from unidiff_cli.project.project import Project
from unidiff_cli.service.app import create_app
from unidiff_cli.service.connections import connections
from unidiff_cli.service.limits import Limits
from unidiff_cli.service.service import Service

logger = logging.getLogger("unidiff.service")

LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Connections that wait to be taken.
BACKLOG = 512


def serve(
    project: Project,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str = "",
    export: str | None = None,
    encoder: str = CLIP,
    limits: Limits | None = None,
    on_start: Callable[[str, Service], None] | None = None,
) -> None:
    """Serves a project over HTTP until a signal comes; port 0 takes any that is free.

    `on_start` gets the address once it is taken. Raises UsageError for an address that others
    reach without a token, EnvironmentProblem where the address cannot be taken, what
    `Retriever.open` raises, and Interrupted for the signal that ended it.
    """
    local = is_local(host)
    if not local and not token:
        raise UsageError(
            f"{host} can be reached by others, and no token is asked for.",
            "Set UNIDIFF_TOKEN to a secret of your own.",
        )
    service = Service(project, export, encoder, limits)
    app = create_app(service, hosts=LOOPBACK if local else (), token=token)
    listener = _listener(host, port)
    with signals.held() as caught, listener, _without_notes_on_queries():
        if on_start:
            on_start(_address(listener), service)
        Server(service, app, caught).run([listener])


@contextmanager
def _without_notes_on_queries() -> Iterator[None]:
    """Within it only the service itself says more than warnings: clients ask much."""
    ours = logging.getLogger("unidiff")
    level, shown = ours.level, ours.getEffectiveLevel()
    logger.setLevel(shown)
    ours.setLevel(max(shown, logging.WARNING))
    try:
        yield
    finally:
        ours.setLevel(level)
        logger.setLevel(logging.NOTSET)


def is_local(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return host in LOOPBACK or ip_address(host).is_loopback
    except ValueError:
        return False


class Server(uvicorn.Server):
    """uvicorn's, that hears our signals in place of its own."""

    def __init__(self, service: Service, app: FastAPI, caught: Callable[[], int]) -> None:
        """It comes to its end once `caught` gives a signal."""
        limits = service.limits
        config = uvicorn.Config(
            app,
            http=connections(limits.head),
            log_config=None,
            access_log=False,
            server_header=False,
            # Whoever is cut off is told so before the connection is.
            timeout_graceful_shutdown=math.ceil(limits.drain + limits.parting),
            h11_max_incomplete_event_size=64 << 10,
        )
        super().__init__(config)
        self._service, self._caught = service, caught

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def on_tick(self, counter: int) -> bool:
        if self._caught() and not self.should_exit:
            logger.info("Stopping: what runs comes to its end. Ctrl-C again ends it at once.")
            self._service.drain()
            self.should_exit = True
        return await super().on_tick(counter)


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as problem:
        listener.close()
        raise EnvironmentProblem(
            f"The address {host}:{port} cannot be taken: {problem.strerror or problem}.",
            "Name another with --port; 0 takes any that is free.",
        ) from problem
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
