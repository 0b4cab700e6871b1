"""A web server of this machine, which says what it was asked for."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# What a path is answered with: a body, or what writes the answer itself.
Answer = bytes | Callable[[BaseHTTPRequestHandler], None]


class Server:
    """Answers of a server by their paths, the requests it got, and how many at a time at most."""

    def __init__(self, port: int, scheme: str = "http") -> None:
        self.address = f"{scheme}://127.0.0.1:{port}"
        self.answers: dict[str, Answer] = {}
        self.asked: Counter[str] = Counter()
        self.headers: list[dict[str, str]] = []
        self.connections: set[tuple[str, int]] = set()


@contextmanager
def serving(context=None) -> Iterator[Server]:
    """A server on the loopback interface; with an SSL context it speaks https."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.asked[self.path] += 1
            server.headers.append(dict(self.headers))
            server.connections.add(self.client_address)
            answer = server.answers.get(self.path)
            if answer is None:
                reply(self, b"not here", 404)
            elif isinstance(answer, bytes):
                reply(self, answer)
            else:
                answer(self)

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, *_: object) -> None:
            pass

    with Quiet(("127.0.0.1", 0), Handler) as http:
        server = Server(http.server_address[1], "https" if context else "http")
        if context:
            http.socket = context.wrap_socket(http.socket, server_side=True)
        thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()


def reply(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    """Answers a request; `content_type="text/html"` is a header."""
    handler.send_response(status)
    named = {"Content-Type": "image/jpeg", "Content-Length": str(len(body))}
    named |= {name.replace("_", "-").title(): value for name, value in headers.items()}
    for name, value in named.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)
