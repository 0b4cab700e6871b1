"""What stands before every request: who may ask, for how much, and what a browser may do with it.

A body is read whole, within bounds of size and time, before anything looks at it. A slow client so
holds a connection and no thread, and half a request starts no work.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import math
import time
from collections.abc import Callable, Sequence
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unidiff_cli.service.limits import Limits

COOKIE = "unidiff_token"
# What needs no token: whether it lives, and what the page for the token is made of.
OPEN = ("/healthz", "/login", "/static/")
SAFE = ("GET", "HEAD", "OPTIONS")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# A report is one file with its style and images inside. Swagger's page starts with a script.
OWN_STYLE = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
OWN_SCRIPT = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
)
POLICIES = {"/report": OWN_STYLE, "/docs": OWN_SCRIPT}
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


class Refused(Exception):
    """A request that is not looked at: the status and a sentence."""

    def __init__(self, status: int, sentence: str, retry: bool = False) -> None:
        self.status, self.sentence, self.retry = status, sentence, retry
        super().__init__(sentence)


def problem(status: int, sentence: str, retry: bool = False) -> Response:
    """A refusal as every client of ours reads it."""
    headers = {"retry-after": "1"} if retry else {}
    # After a body that was not read, nothing else can be said over the same connection.
    if status in (408, 413):
        headers["connection"] = "close"
    return JSONResponse({"detail": sentence}, status, headers=headers)


class Guard:
    """An ASGI application before another one."""

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        hosts: Sequence[str] = (),
        token: str = "",
        until: Callable[[], float] = lambda: math.inf,
    ) -> None:
        """`hosts` are the names it answers to, any where there is none; `token` is asked for.

        Bodies are given up at `until`, a time of `time.monotonic`.
        """
        self._app, self._limits, self._hosts, self._token = app, limits, hosts, token
        self._until, self._held = until, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sender = _with_headers(send, scope["path"])
        headers, pieces = Headers(scope=scope), list[bytes]()
        try:
            self._check(scope, headers)
            await self._read(headers, receive, pieces)
            body = b"".join(pieces)
            await self._app(scope, _replay(body, receive), sender)
        except Refused as refused:
            response = problem(refused.status, refused.sentence, refused.retry)
            if refused.status == 401 and _wants_page(scope, headers):
                response = RedirectResponse("/login", 303)
            await response(scope, receive, sender)
        finally:
            self._held -= sum(map(len, pieces))

    def _check(self, scope: Scope, headers: Headers) -> None:
        host = headers.get("host", "")
        # A page elsewhere may have its name lead here, and read what we answer.
        if self._hosts and _host_name(host) not in self._hosts:
            raise Refused(421, f"This service does not answer to the name '{host}'.")
        origin = headers.get("origin")
        if origin and scope["method"] not in SAFE and urlsplit(origin).netloc != host:
            raise Refused(403, "Pages of other sites may not send requests to this service.")
        if self._token and not any(scope["path"].startswith(path) for path in OPEN):
            if not hmac.compare_digest(_given_digest(headers), digest_of(self._token)):
                raise Refused(401, "Send the service's token: Authorization: Bearer TOKEN.")

    async def _read(self, headers: Headers, receive: Receive, pieces: list[bytes]) -> None:
        """The whole body in pieces. Raises Refused for one that is too large or too slow."""
        most, limits = self._limits.body, self._limits
        try:
            stated = int(headers.get("content-length", 0))
        except ValueError:
            raise Refused(400, "The content-length is no number.") from None
        if stated > most:
            raise Refused(413, f"A request may have {most:,} bytes.")
        if self._held + stated > limits.bodies:
            raise Refused(429, "Too many images are being sent. Try again.", retry=True)
        size = 0
        try:
            async with asyncio.timeout(limits.reading):
                more = True
                while more:
                    left = self._until() - time.monotonic()
                    message = await asyncio.wait_for(receive(), min(limits.pause, left))
                    if message["type"] == "http.disconnect":
                        raise Refused(400, "The client went away.")
                    pieces.append(message.get("body", b""))
                    size += len(pieces[-1])
                    # As it comes, so that many at a time cannot each begin below the bound.
                    self._held += len(pieces[-1])
                    if size > most:
                        raise Refused(413, f"A request may have {most:,} bytes.")
                    if self._held > limits.bodies:
                        raise Refused(429, "Too many images are being sent. Try again.", retry=True)
                    more = message.get("more_body", False)
        except TimeoutError:
            if time.monotonic() >= self._until():
                raise Refused(503, "The service is being stopped.", retry=True) from None
            raise Refused(408, "The request came too slowly.") from None


def _replay(body: bytes, receive: Receive) -> Receive:
    """A body that was read, then what the client sends after it: that it goes away."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


def _with_headers(send: Send, path: str) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers["content-security-policy"] = POLICIES.get(path, POLICY)
        await send(message)

    return sending


def _host_name(host: str) -> str:
    """The name in a Host header, without its port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def digest_of(token: str | bytes) -> str:
    """What is compared, and what a browser remembers, in place of a token."""
    return hashlib.sha256(token.encode() if isinstance(token, str) else token).hexdigest()


def _given_digest(headers: Headers) -> str:
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        # A header's bytes, whatever letters they mean.
        return digest_of(token.strip().encode("latin-1"))
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return ""
    given = cookies[COOKIE].value if COOKIE in cookies else ""
    return given if given.isascii() else ""


def _wants_page(scope: Scope, headers: Headers) -> bool:
    return scope["method"] == "GET" and "text/html" in headers.get("accept", "")
