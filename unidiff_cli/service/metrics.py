"""Counts and times of requests, as Prometheus reads them."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_TYPE = CONTENT_TYPE_LATEST
# Of the times of requests, in seconds: from a thumbnail to an image on a processor.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """What one service counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "unidiff_requests", "Requests.", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "unidiff_request_seconds",
            "Time to the first byte of an answer.",
            ["route"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.waiting = Gauge("unidiff_searches_waiting", "Searches.", registry=self.registry)
        self.queued = Gauge("unidiff_generations_waiting", "Generations.", registry=self.registry)
        self.images = Gauge("unidiff_index_images", "Images found.", registry=self.registry)
        self.reloads = Counter("unidiff_reloads", "New catalogues.", registry=self.registry)

    def text(self) -> bytes:
        """All of it, in Prometheus's text format."""
        return generate_latest(self.registry)


class Measured:
    """An ASGI application whose requests are counted and timed."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                # The template and not the address, which a client chooses.
                route = getattr(scope.get("route"), "path", "")
                self._metrics.requests.labels(scope["method"], route, message["status"]).inc()
                self._metrics.seconds.labels(route).observe(time.perf_counter() - started)
            await send(message)

        await self._app(scope, receive, sending)
