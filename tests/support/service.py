"""A client of the service in this process, without a network, and the service on a socket."""

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse

from starlette.testclient import TestClient

from tests.support.processes import wait_until
from unidiff_cli.service.app import create_app
from unidiff_cli.service.server import LOOPBACK, Server

HOST = "http://127.0.0.1:8000"


def client_of(service, **options) -> TestClient:
    """It answers to the names of this machine."""
    return TestClient(create_app(service, hosts=LOOPBACK, **options), base_url=HOST)


class Running:
    """The service on a port of this machine, in a thread of this process."""

    def __init__(self, service) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.stopped = threading.Event()
        app = create_app(service, hosts=LOOPBACK)
        self.server = Server(service, app, lambda: self.stopped.is_set() * signal.SIGTERM)
        self.thread = threading.Thread(target=self.server.run, args=([self.listener],))

    def connect(self, data: bytes = b"") -> socket.socket:
        """A connection over which something was sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), 20)
        connection.sendall(data)
        return connection

    def head(self, line: str, size: int | None = None) -> bytes:
        """The head of a request; `size` is how long its body is said to be."""
        length = [] if size is None else [f"content-length: {size}"]
        return "\r\n".join([f"{line} HTTP/1.1", "host: 127.0.0.1", *length, "", ""]).encode()


@contextmanager
def running(service) -> Iterator[Running]:
    """A service that is stopped, as by a signal, at the end."""
    served = Running(service)
    served.thread.start()
    try:
        wait_until(lambda: served.server.started)
        yield served
    finally:
        served.stopped.set()
        served.thread.join(30)
        assert not served.thread.is_alive()


def answer_to(connection: socket.socket) -> tuple[int, str]:
    """The status and the text of the answer that comes over a connection."""
    response = HTTPResponse(connection)
    response.begin()
    return response.status, response.read().decode()


def is_closed(connection: socket.socket, within: float = 5) -> bool:
    """Whether the other side closes a connection, without a word."""
    connection.settimeout(within)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
