"""Gets what a web address gives, within bounds, from public hosts only.

A host is resolved, each of its addresses is checked, and the connection goes to one that was
checked: no name can lead elsewhere in between. The same holds after every redirect. Nothing is sent
but the request: no cookies, no credentials, and no proxy is asked.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import IO, NamedTuple
from urllib.parse import quote, urljoin, urlsplit

from unidiff_cli.addresses import WEB, without_secrets

PORTS = {"http": 80, "https": 443}
LONGEST = 8192
MOST_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
# Answers that another try may better, and seconds to wait for one that asks for it.
BUSY, MOST_WAIT = (408, 425, 429, 500, 502, 503, 504), 60
# Seconds to connect, and between two pieces of an answer.
CONNECT, SILENCE = 10, 20
PIECE = 1 << 16
# Connections that a session keeps open.
KEPT = 4
# Denied whatever this version of Python thinks of them: Azure's wire server, the addresses of
# protocols (Oracle's metadata), and IPv6 that stands for IPv4 or for a network's own hosts.
DENIED = tuple(
    map(
        ip_network,
        """
        168.63.129.16/32 192.0.0.0/24 ::/96 ::ffff:0:0/96 64:ff9b:1::/48 100::/64 2001::/23
        2001:db8::/32 2002::/16 3fff::/20 5f00::/16 fc00::/7 fec0::/10
        """.split(),
    )
)
# IPv6 that a gateway translates into the IPv4 address in its last bits.
TRANSLATED = IPv6Network("64:ff9b::/96")
# Characters of an address that stand for themselves; % is there already where it is needed.
PLAIN = "/%:@!$&'()*+,;=~-._?"


class WebProblem(Exception):
    """Why an address gives nothing; `wait` seconds before another try, None where none helps.

    `unreachable` says that its host did not answer at all.
    """

    def __init__(self, words: str, wait: float | None = None, unreachable: bool = False) -> None:
        super().__init__(without_secrets(words))
        self.wait, self.unreachable = wait, unreachable


class Target(NamedTuple):
    """A web address in its parts; `path` with its query, as it is sent."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def shown_host(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


def target_of(address: str) -> Target:
    """The parts of an address. Raises WebProblem."""
    if len(address) > LONGEST:
        raise WebProblem(f"a web address of more than {LONGEST:,} characters")
    try:
        parts = urlsplit(address.strip())
        scheme, host, port = parts.scheme.lower(), parts.hostname or "", parts.port
        host = host if host.isascii() else host.encode("idna").decode()
    except (ValueError, UnicodeError) as problem:
        raise WebProblem(f"no valid web address: {problem}") from problem
    if scheme not in WEB or not host or any(c <= " " for c in host):
        raise WebProblem("no valid web address")
    if parts.username is not None or parts.password is not None:
        raise WebProblem("a web address with a login, which is not sent")
    path = quote(parts.path or "/", PLAIN, errors="replace")
    query = f"?{quote(parts.query, PLAIN, errors='replace')}" if parts.query else ""
    return Target(scheme, host, PORTS[scheme] if port is None else port, path + query)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is one of the open net: none of this machine, its network or its cloud."""
    if address in TRANSLATED and not is_public(IPv4Address(int(address) & 0xFFFFFFFF)):
        return False
    is_denied = address.is_multicast or any(address in network for network in DENIED)
    return address.is_global and not is_denied


class Client:
    """Bounds and rules of all downloads: `most` bytes and `seconds` of one.

    `allowed` are networks that are read although they are not public, for tests on this machine;
    `context` is how servers prove who they are.
    """

    def __init__(
        self,
        most: int,
        seconds: float,
        allowed: Iterable[str] = (),
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.most, self.seconds = most, seconds
        self.context = context or ssl.create_default_context()
        self._allowed = [ip_network(network) for network in allowed]
        self.headers = {
            "User-Agent": f"unidiff-cli/{_version()}",
            "Accept": "image/jpeg, image/png;q=0.9, image/*;q=0.8, */*;q=0.5",
            "Accept-Encoding": "identity",
        }

    def resolved(self, host: str, port: int) -> list[tuple[int, tuple]]:
        """Families and socket addresses of a host, all of them checked. Raises WebProblem."""
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except socket.gaierror as problem:
            again = 1.0 if problem.errno == socket.EAI_AGAIN else None
            raise WebProblem(f"its host {host} is not known", again, unreachable=True) from problem
        except (UnicodeError, OverflowError, OSError) as problem:
            raise WebProblem(f"its host cannot be looked up: {problem}") from problem
        for *_, place in infos:
            address = ip_address(str(place[0]))
            if not is_public(address) and not any(address in n for n in self._allowed):
                raise WebProblem(f"denied: {host} is {address}, which is no public address")
        return [(family, place) for family, *_, place in infos]


class Session:
    """One download after another, over connections that stay open. Another thread may `cut` it."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._connections: dict[tuple[str, str, int], _Connection] = {}
        self._socket: socket.socket | None = None
        self._is_late = False

    def get(self, address: str, sink: IO[bytes]) -> None:
        """Writes what an address gives, redirects followed.

        Raises WebProblem, and OSError only where the sink cannot be written.
        """
        with self._deadline():
            for _ in range(MOST_REDIRECTS + 1):
                target = target_of(address)
                with self._problems(target):
                    answer = self._answer(target)
                    onward = answer.getheader("Location")
                if answer.status not in REDIRECTS or not onward:
                    self._take(target, answer, sink)
                    return
                self._pass_over(target, answer)
                following = urljoin(
                    address, onward.encode("latin-1", "replace").decode("utf-8", "replace")
                )
                if target.scheme == "https" and not following.lower().startswith("https:"):
                    raise WebProblem("it leads on to an address that is not https")
                address = following
        raise WebProblem(f"it leads on more than {MOST_REDIRECTS} times")

    def cut(self) -> None:
        """Ends what is going on, from any thread."""
        self._is_late = True
        if (open_socket := self._socket) is not None:
            try:
                # Not SSLSocket's own, which would go on unencrypted.
                socket.socket.shutdown(open_socket, socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    # ---- one answer

    def _answer(self, target: Target) -> http.client.HTTPResponse:
        headers = {"Host": target.shown_host, **self.client.headers}
        connection, is_used = self._connection(target)
        try:
            connection.request("GET", target.path, headers=headers)
            return connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionError):
            # A connection that stayed open may have been closed by the server meanwhile.
            self._drop(target)
            if not is_used or self._is_late:
                raise
        connection, _ = self._connection(target)
        connection.request("GET", target.path, headers=headers)
        return connection.getresponse()

    def _take(self, target: Target, answer: http.client.HTTPResponse, sink: IO[bytes]) -> None:
        """Writes the body of an answer. Raises WebProblem."""
        try:
            self._refuse(answer)
            length = answer.length
            taken = 0
            while True:
                with self._problems(target):
                    piece = answer.read1(PIECE)
                if not piece:
                    break
                taken += len(piece)
                if taken > self.client.most:
                    raise self._too_large()
                sink.write(piece)
            if late := self._late():
                raise WebProblem(late)
            if length is not None and taken < length:
                raise WebProblem("the answer ends too early", 0)
            if not taken:
                raise WebProblem("an empty file")
        except BaseException:
            self._drop(target)
            raise
        answer.close()
        if answer.will_close:
            self._drop(target)

    def _pass_over(self, target: Target, answer: http.client.HTTPResponse) -> None:
        """Leaves the connection of an answer that leads on ready for the next request."""
        with self._problems(target):
            if answer.length is not None and answer.length <= PIECE and not answer.will_close:
                answer.read()
            else:
                self._drop(target)

    def _refuse(self, answer: http.client.HTTPResponse) -> None:
        """Raises WebProblem for an answer that is no image."""
        status, kind = answer.status, (answer.getheader("Content-Type") or "").lower()
        if status in BUSY:
            asked = answer.getheader("Retry-After") or ""
            wait = min(int(asked), MOST_WAIT) if asked.isascii() and asked.isdigit() else 0
            raise WebProblem(f"the server is busy or broken ({status})", wait)
        if status in (404, 410):
            raise WebProblem(f"the server has no such image ({status})")
        if status in (401, 403):
            raise WebProblem(f"the server does not give it ({status})")
        if status != 200:
            raise WebProblem(f"the server answers {status}")
        if (answer.getheader("Content-Encoding") or "identity").lower() != "identity":
            raise WebProblem("the server packs it, which nobody asked for")
        if kind.startswith(("text/", "application/json", "application/xhtml")):
            raise WebProblem(f"no image: the server gives {kind.split(';')[0]}")
        if answer.length is not None and answer.length > self.client.most:
            raise self._too_large()

    def _too_large(self) -> WebProblem:
        return WebProblem(f"larger than {self.client.most:,} bytes (prepare.limits.image_bytes)")

    # ---- connections and time

    def _connection(self, target: Target) -> tuple[_Connection, bool]:
        """A connection to a target, and whether it was used before."""
        key = target[:3]
        if key in self._connections:
            connection = self._connections[key]
            self._socket = connection.sock
            return connection, connection.sock is not None
        while len(self._connections) >= KEPT:
            self._connections.pop(next(iter(self._connections))).close()
        connection = self._connections[key] = _Connection(self, target)
        return connection, False

    def _drop(self, target: Target) -> None:
        if connection := self._connections.pop(target[:3], None):
            connection.close()

    def opened(self, target: Target) -> socket.socket:
        """A connection to an address of the target that was checked. Raises OSError, WebProblem."""
        problem: OSError | None = None
        for family, place in self.client.resolved(target.host, target.port):
            if self._is_late:
                break
            self._socket = plain = socket.socket(family, socket.SOCK_STREAM)
            try:
                plain.settimeout(CONNECT)
                plain.connect(place)
                plain.settimeout(SILENCE)
                return self._secured(plain, target) if target.scheme == "https" else plain
            except OSError as refused:
                plain.close()
                problem = refused
        raise problem or TimeoutError

    def _secured(self, plain: socket.socket, target: Target) -> socket.socket:
        secured = self.client.context.wrap_socket(
            plain, server_hostname=target.host, do_handshake_on_connect=False
        )
        self._socket = secured
        try:
            secured.do_handshake()
        except BaseException:
            secured.close()
            raise
        return secured

    @contextmanager
    def _deadline(self) -> Iterator[None]:
        """Cuts what takes longer than it may, however slowly a server drips."""
        self._is_late, self._socket = False, None
        timer = threading.Timer(self.client.seconds, self.cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _late(self) -> str:
        if not self._is_late:
            return ""
        return f"more than {self.client.seconds:g} seconds (prepare.limits.url_seconds)"

    @contextmanager
    def _problems(self, target: Target) -> Iterator[None]:
        """Makes a WebProblem of what the network raises."""
        try:
            yield
        except WebProblem:
            # Its request was begun and never sent.
            self._drop(target)
            raise
        except ssl.SSLCertVerificationError as problem:
            self._drop(target)
            words = f"{target.host} does not prove who it is: {problem.verify_message}"
            raise WebProblem(words, unreachable=True) from problem
        except (http.client.HTTPException, OSError, ValueError) as problem:
            self._drop(target)
            if late := self._late():
                raise WebProblem(late) from problem
            silent = isinstance(problem, TimeoutError | ConnectionRefusedError)
            words = str(getattr(problem, "strerror", None) or problem) or type(problem).__name__
            raise WebProblem(
                f"{target.host} does not answer: {words[:200]}", 0, unreachable=silent
            ) from problem


class _Connection(http.client.HTTPConnection):
    """A connection that only goes where a session lets it."""

    def __init__(self, session: Session, target: Target) -> None:
        super().__init__(target.host, target.port)
        self._session, self._target = session, target

    def connect(self) -> None:
        self.sock = self._session.opened(self._target)


def _version() -> str:
    try:
        return version("unidiff-cli")
    except PackageNotFoundError:
        return "0"
