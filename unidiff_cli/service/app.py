"""The application: routes, what stands before them, and every error as a sentence."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from anyio import to_thread
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.staticfiles import StaticFiles

from unidiff_cli import __version__
from unidiff_cli.errors import Damaged, EnvironmentProblem, NotReady, UnidiffError
from unidiff_cli.service import api, page
from unidiff_cli.service.guard import Guard, Refused, problem
from unidiff_cli.service.metrics import Measured
from unidiff_cli.service.service import Service


def create_app(service: Service, *, hosts: Sequence[str] = (), token: str = "") -> FastAPI:
    """An ASGI application over a service, for any server.

    `hosts` are the names that it answers to, any where there is none; with a `token` every request
    must bring it.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(service.watch())
        try:
            yield
        finally:
            watching.cancel()
            service.drain()
            left = max(0.0, service.until - time.monotonic()) + service.limits.parting
            await to_thread.run_sync(service.jobs.join, left)

    app: FastAPI = FastAPIOffline(
        title="unidiff",
        version=__version__,
        description="Retrieval and generation with a model that is adapted to this catalogue.",
        lifespan=lifespan,
        redoc_url=None,
        static_url="/static-docs",
    )
    app.state.service, app.state.token = service, token
    app.include_router(api.router)
    app.include_router(page.router)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")
    app.add_exception_handler(UnidiffError, _unidiff_error)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    # The last is the first that a request meets.
    app.add_middleware(
        Guard, limits=service.limits, hosts=hosts, token=token, until=lambda: service.until
    )
    app.add_middleware(Measured, metrics=service.metrics)
    return app


async def _unidiff_error(request: Request, error: Exception) -> Response:
    # What the project lacks is not the client's mistake.
    mine = isinstance(error, NotReady | Damaged | EnvironmentProblem)
    return problem(503 if mine else 400, str(error))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return problem(error.status, error.sentence, error.retry)


async def _invalid(request: Request, error: Exception) -> Response:
    """The first of what a request gets wrong, as a sentence."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][1:]) or "the body"
    return problem(400, f"{place}: {first['msg']}.")
