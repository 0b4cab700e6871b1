"""The service over real sockets: clients that are slow, that go away, and that never say a word."""

import json
import logging
import select
import socket
import struct
import time
from contextlib import suppress
from http.client import HTTPConnection

import pytest

from tests.support.processes import wait_until
from tests.support.service import answer_to, is_closed, running
from unidiff_cli.service.client import Client
from unidiff_cli.service.limits import Limits
from unidiff_cli.service.service import Service

MEGABYTE = 1 << 20
LIMITS = Limits(
    head=0.4, pause=0.5, reading=0.7, drain=0.5, parting=1.0, body=MEGABYTE, bodies=3 * MEGABYTE
)


@pytest.fixture(scope="module")
def service(finished):
    return Service(finished, limits=LIMITS)


@pytest.fixture(scope="module")
def served(service):
    with running(service) as served:
        yield served


def trickle(connections):
    """Sends a byte over each connection that is still open."""
    for connection in connections:
        with suppress(OSError):
            connection.send(b"x")
    time.sleep(0.05)


# ---------------------------------------------------------------- slow clients


def test_bodies_that_come_byte_by_byte_are_given_up_and_hold_nobody_up(served):
    head = served.head("POST /v1/retrieve", 10_000)
    slow = [served.connect(head) for _ in range(16)]
    answers = 0
    with Client(served.address) as client:
        while not select.select(slow, [], [], 0)[0]:
            trickle(slow)
            answers += len(client.retrieve("red dress", k=1))
    for connection in slow:
        assert answer_to(connection) == (408, '{"detail":"The request came too slowly."}')
        assert is_closed(connection)
    assert answers > 3


def test_a_request_that_does_not_begin_is_given_up(served):
    whole = served.head("GET /healthz")
    silent, half, slow = served.connect(), served.connect(whole[:20]), served.connect(b"GET /")
    again = served.connect(whole)
    assert answer_to(again)[0] == 200
    again.sendall(whole[:20])
    # Nor is the body waited for that comes after an answer.
    elsewhere = served.head("POST /v1/retrieve", 10_000).replace(b"127.0.0.1", b"evil.example")
    refused = served.connect(elsewhere)
    assert answer_to(refused)[0] == 421
    began = time.monotonic()
    while time.monotonic() < began + 2 * LIMITS.head:
        trickle([slow, again, refused])
    assert all(is_closed(each, 0.1) for each in (silent, half, slow, again, refused))


def test_who_asks_again_and_again_is_not_given_up(served):
    busy = served.connect()
    for _ in range(4):
        busy.sendall(served.head("GET /healthz"))
        assert answer_to(busy)[0] == 200
        time.sleep(LIMITS.head / 3)


def test_who_sends_too_much_without_listening_is_told_so(served):
    connection = served.connect(served.head("POST /v1/retrieve", 8 * MEGABYTE))
    with suppress(OSError):
        connection.sendall(b"x" * 8 * MEGABYTE)
    status, text = answer_to(connection)
    assert status == 413 and "1,048,576 bytes" in text


# ---------------------------------------------------------------- clients that go away


def reset(connection):
    """Closes a connection as a client does whose process was killed with data on its way."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def test_uploads_that_end_in_the_middle_leave_nothing(served):
    for leave in (socket.socket.close, reset) * 3:
        connection = served.connect(served.head("POST /v1/generate", MEGABYTE))
        connection.sendall(b"x" * (MEGABYTE - 1))
        leave(connection)
    wait_until(lambda: not served.server.server_state.tasks)
    # All six are more than may be held at a time. This one is read, and is no JSON.
    connection = served.connect(served.head("POST /v1/generate", MEGABYTE) + b"x" * MEGABYTE)
    assert answer_to(connection)[0] == 400


def events_of(served, place):
    """A connection to a generation's events, and the first of them."""
    http = HTTPConnection("127.0.0.1", served.port, timeout=20)
    http.request("GET", f"{place}/events")
    stream = http.getresponse()
    assert stream.readline().startswith(b"event:")
    return http, stream


def begun(served, **wanted):
    """The address of a generation that was asked for."""
    body = json.dumps({"prompt": "red dress", **wanted}).encode()
    head = served.head("POST /v1/generate", len(body))
    kind = b"host: 127.0.0.1\r\ncontent-type: application/json"
    status, text = answer_to(served.connect(head.replace(b"host: 127.0.0.1", kind) + body))
    assert status == 202, text
    return f"/v1/generate/{json.loads(text)['id']}"


def state_of(service, place):
    return service.jobs.get(place.rpartition("/")[2]).state


def test_a_generation_goes_on_when_its_listener_leaves_and_so_does_the_next(served, service):
    first, second = begun(served, count=1, steps=25), begun(served, count=1, steps=2)
    for place, leave in ((first, HTTPConnection.close), (second, lambda http: reset(http.sock))):
        http, stream = events_of(served, place)
        assert state_of(service, place) in ("waiting", "running")
        leave(http)
        stream.close()
    wait_until(lambda: state_of(service, first) == state_of(service, second) == "done", timeout=30)
    wait_until(lambda: not served.server.server_state.tasks)
    assert len(service.jobs.get(first.rpartition("/")[2]).images) == 1
    # Who comes back hears how it ended.
    _, stream = events_of(served, first)
    assert b'"state":"done"' in stream.read()


# ---------------------------------------------------------------- the end


def test_at_the_end_silent_clients_are_not_waited_for(finished):
    service = Service(finished, limits=Limits(drain=20, parting=5))
    with running(service) as served:
        whole = served.head("GET /healthz")
        idle = served.connect(whole)
        assert answer_to(idle)[0] == 200
        others = [served.connect(), served.connect(whole[:20])]
        # One whose machine is gone: it neither takes the answer nor says that it left.
        gone = served.connect(whole)
        wait_until(lambda: len(served.server.server_state.connections) == 4)
        began = time.monotonic()
        served.stopped.set()
        assert all(is_closed(each) for each in (idle, *others))
        served.thread.join(10)
        assert time.monotonic() - began < 3 and not served.thread.is_alive()
        gone.close()


def test_at_the_end_what_takes_too_long_is_told_so(finished, caplog):
    service = Service(finished, limits=LIMITS)
    with caplog.at_level(logging.ERROR), running(service) as served:
        place = begun(served, count=16, steps=900)
        _, stream = events_of(served, place)
        wait_until(lambda: state_of(service, place) == "running")
        upload = served.connect(served.head("POST /v1/retrieve", 10_000))
        began = time.monotonic()
        served.stopped.set()
        while time.monotonic() < began + LIMITS.drain + 0.2:
            trickle([upload])
        assert answer_to(upload)[0] == 503
        assert stream.read().count(b"event: cancelled") == 1
        served.thread.join(10)
        assert time.monotonic() - began < LIMITS.drain + LIMITS.parting
    assert not caplog.records
