"""Downloads: what a server, a redirect or a name may not do to this machine and to its network."""

import io
import socket
import ssl
import time
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.support.web import reply, serving
from unidiff_cli.data import web_client
from unidiff_cli.data.web_client import Client, Session, WebProblem, is_public, target_of

LOOPBACK = ("127.0.0.0/8",)
CERTIFICATE = Path(__file__).parent.parent / "support" / "loopback.pem"


@pytest.fixture
def server():
    with serving() as each:
        yield each


def got(address: str, **options) -> bytes:
    """What an address gives; loopback is allowed unless said otherwise."""
    session = Session(Client(**{"most": 1000, "seconds": 5, "allowed": LOOPBACK} | options))
    try:
        session.get(address, sink := io.BytesIO())
        return sink.getvalue()
    finally:
        session.close()


def problem_of(address: str, **options) -> WebProblem:
    with pytest.raises(WebProblem) as caught:
        got(address, **options)
    return caught.value


# ---------------------------------------------------------------- addresses that are denied


@pytest.mark.parametrize(
    "address",
    """
    127.0.0.1 127.9.9.9 0.0.0.0 10.1.2.3 172.16.0.1 172.31.255.255 192.168.1.1 169.254.169.254
    100.64.0.1 100.100.100.200 192.0.0.192 198.18.0.1 224.0.0.1 239.1.1.1 240.0.0.1
    255.255.255.255 168.63.129.16 192.0.2.1 ::1 :: fe80::1 fc00::1 fd00:ec2::254 fec0::1 ff02::1
    ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::127.0.0.1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe
    64:ff9b:1::808:808 2002:7f00:1:: 2001:db8::1 2001::1
    """.split(),
)
def test_addresses_of_this_machine_and_its_networks_are_not_public(address):
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", "8.8.8.8 23.227.38.65 2606:4700::1111 64:ff9b::808:808".split())
def test_addresses_of_the_open_net_are_public(address):
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "host",
    "127.0.0.1 localhost 127.1 2130706433 0x7f.1 0177.0.0.1 [::1] [::ffff:127.0.0.1] 0".split(),
)
def test_no_spelling_of_loopback_is_connected_to(server, host):
    port = server.address.rpartition(":")[2]
    problem = problem_of(f"http://{host}:{port}/a.jpg", allowed=())
    assert "no public address" in str(problem) and problem.wait is None
    assert not server.connections


def test_a_host_that_is_denied_is_denied_again(server):
    session = Session(Client(1000, 5))
    for _ in range(3):
        with pytest.raises(WebProblem, match="no public address"):
            session.get(f"{server.address}/a.jpg", io.BytesIO())


def resolving(monkeypatch, answers):
    """Makes every name mean the addresses given: one list for each time it is asked."""
    asked = []

    def getaddrinfo(host, port, **_):
        addresses = answers[min(len(asked), len(answers) - 1)]
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in addresses]

    monkeypatch.setattr(web_client.socket, "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize("addresses", [["10.0.0.1"], ["8.8.8.8", "127.0.0.1"]])
def test_a_name_that_means_a_private_address_is_denied(monkeypatch, addresses):
    resolving(monkeypatch, [addresses])
    assert "denied: shop.example is" in str(problem_of("http://shop.example/a.jpg", allowed=()))


def test_a_name_is_looked_up_once_and_connected_to_where_it_was_checked(monkeypatch, server):
    """A name that means another address a moment later (DNS rebinding) leads nowhere else."""
    server.answers["/a.jpg"] = b"image"
    asked = resolving(monkeypatch, [["127.0.0.1"], ["10.0.0.1"]])
    port = server.address.rpartition(":")[2]
    assert got(f"http://shop.example:{port}/a.jpg") == b"image"
    assert asked == ["shop.example"]
    assert server.headers[0]["Host"] == f"shop.example:{port}"


@pytest.mark.parametrize(
    "onward",
    [
        "http://127.0.0.2:{port}/b.jpg",
        "//127.0.0.2:{port}/b.jpg",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]:{port}/b.jpg",
    ],
)
def test_a_redirect_to_a_private_address_is_denied(server, onward):
    port = server.address.rpartition(":")[2]
    server.answers["/a.jpg"] = lambda r: reply(r, b"", 302, location=onward.format(port=port))
    server.answers["/b.jpg"] = b"secret"
    problem = problem_of(f"{server.address}/a.jpg", allowed=("127.0.0.1",))
    assert "no public address" in str(problem) and server.asked == {"/a.jpg": 1}


@pytest.mark.parametrize("onward", ["file:///etc/hostname", "ftp://shop.example/a", "data:,x"])
def test_a_redirect_to_no_web_address_is_refused(server, onward):
    server.answers["/a.jpg"] = lambda r: reply(r, b"", 302, location=onward)
    assert "no valid web address" in str(problem_of(f"{server.address}/a.jpg"))


@pytest.mark.parametrize(
    "address, words",
    [
        ("http://me:secret@shop.example/a.jpg", "with a login"),
        ("http://", "no valid"),
        ("http://shop.example:99999/a", "no valid"),
        ("http://[::1/a", "no valid"),
        ("http://x.example/" + "a" * 9000, "8,192 characters"),
        ("http://\u2100.example/a", "no valid"),
    ],
)
def test_addresses_that_are_none_are_refused(address, words):
    with pytest.raises(WebProblem) as caught:
        target_of(address)
    assert words in str(caught.value) and "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "address, path",
    [
        ("http://x.example", "/"),
        ("http://x.example/é b.jpg?v=ü", "/%C3%A9%20b.jpg?v=%C3%BC"),
        ("http://x.example/a%20b.jpg?w=1&h=2#top", "/a%20b.jpg?w=1&h=2"),
        ("http://x.example/a\r\nHost: b", "/aHost:%20b"),
    ],
)
def test_what_is_asked_for_is_written_as_http_has_it(address, path):
    assert target_of(address).path == path


# ---------------------------------------------------------------- answers


def test_a_redirect_is_followed_over_the_same_connection(server):
    server.answers["/a.jpg"] = lambda r: reply(r, b"moved", 301, location="/b.jpg")
    server.answers["/b.jpg"] = b"image"
    assert got(f"{server.address}/a.jpg") == b"image" and len(server.connections) == 1


def test_redirects_in_a_circle_end(server):
    server.answers["/a.jpg"] = lambda r: reply(r, b"", 302, location="/a.jpg")
    assert str(problem_of(f"{server.address}/a.jpg")) == "it leads on more than 5 times"


def test_the_request_says_who_asks_and_nothing_else(server):
    server.answers["/a.jpg"] = b"image"
    got(f"{server.address}/a.jpg")
    (headers,) = server.headers
    assert headers["User-Agent"].startswith("unidiff-cli/")
    assert set(headers) == {"Host", "User-Agent", "Accept", "Accept-Encoding"}


@pytest.mark.parametrize(
    "status, words, wait",
    [
        (404, "no such image (404)", None),
        (410, "no such image (410)", None),
        (403, "does not give it (403)", None),
        (418, "the server answers 418", None),
        (206, "the server answers 206", None),
        (503, "busy or broken (503)", 0),
        (500, "busy or broken (500)", 0),
    ],
)
def test_answers_that_are_no_image(server, status, words, wait):
    server.answers["/a.jpg"] = lambda r: reply(r, b"sorry", status)
    problem = problem_of(f"{server.address}/a.jpg")
    assert words in str(problem) and problem.wait == wait


@pytest.mark.parametrize("asked, wait", [("7", 7), ("9999", 60), ("soon", 0), ("-5", 0)])
def test_a_server_may_ask_for_a_pause(server, asked, wait):
    server.answers["/a.jpg"] = lambda r: reply(r, b"", 429, retry_after=asked)
    assert problem_of(f"{server.address}/a.jpg").wait == wait


def test_a_web_page_is_no_image(server):
    server.answers["/a.jpg"] = lambda r: reply(r, b"<html>", content_type="text/html; charset=x")
    assert str(problem_of(f"{server.address}/a.jpg")) == "no image: the server gives text/html"


def test_what_is_packed_is_not_unpacked(server):
    server.answers["/a.jpg"] = lambda r: reply(r, b"x", content_encoding="gzip")
    assert "packs it" in str(problem_of(f"{server.address}/a.jpg"))


def test_what_is_too_large_is_not_taken(server):
    server.answers["/a.jpg"] = b"x" * 1001
    problem = problem_of(f"{server.address}/a.jpg")
    assert str(problem) == "larger than 1,000 bytes (prepare.limits.image_bytes)"


def endless(handler) -> None:
    """Says no length and never ends."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    while True:
        handler.wfile.write(b"100\r\n" + b"x" * 256 + b"\r\n")


def test_what_does_not_say_its_length_is_cut_at_the_limit(server):
    server.answers["/a.jpg"] = endless
    assert "larger than 1,000" in str(problem_of(f"{server.address}/a.jpg"))


@pytest.mark.parametrize("length, body", [(10, b"12345"), (0, b"")])
def test_what_ends_too_early_or_is_empty_is_refused(server, length, body):
    def answer(handler) -> None:
        reply(handler, body, content_length=str(length))
        handler.close_connection = True

    server.answers["/a.jpg"] = answer
    problem = problem_of(f"{server.address}/a.jpg")
    assert ("ends too early" if length else "empty") in str(problem)


def drip_head(handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for n in range(200):
        handler.wfile.write(f"X-{n}: x\r\n".encode())
        time.sleep(0.05)


def drip_body(handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "900")
    handler.end_headers()
    for _ in range(900):
        handler.wfile.write(b"x")
        time.sleep(0.05)


def say_nothing(handler) -> None:
    time.sleep(10)


@pytest.mark.parametrize("slow", [drip_head, drip_body, say_nothing])
def test_a_server_that_drips_is_cut_off(server, slow):
    server.answers["/a.jpg"] = slow
    began = time.monotonic()
    problem = problem_of(f"{server.address}/a.jpg", seconds=0.4)
    assert str(problem) == "more than 0.4 seconds (prepare.limits.url_seconds)"
    assert time.monotonic() - began < 3 and problem.wait is None


def test_nobody_there_is_said_and_tried_again():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    problem = problem_of(f"http://127.0.0.1:{port}/a.jpg")
    assert "Connection refused" in str(problem) and problem.wait == 0 and problem.unreachable


def test_one_connection_serves_many_images(server):
    session = Session(Client(1000, 5, LOOPBACK))
    for n in range(5):
        server.answers[f"/{n}.jpg"] = b"image"
        session.get(f"{server.address}/{n}.jpg", io.BytesIO())
    assert len(server.connections) == 1
    session.close()


def test_a_connection_that_the_server_closed_meanwhile_is_opened_again(server):
    def answer(handler) -> None:
        reply(handler, b"image")
        handler.close_connection = True

    server.answers["/a.jpg"] = answer
    session = Session(Client(1000, 5, LOOPBACK))
    for _ in range(3):
        session.get(f"{server.address}/a.jpg", sink := io.BytesIO())
        assert sink.getvalue() == b"image"
    session.close()


# ---------------------------------------------------------------- https


@pytest.fixture
def secure():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    with serving(context) as each:
        each.answers["/a.jpg"] = b"image"
        yield each


def test_a_server_proves_who_it_is(secure):
    trusting = ssl.create_default_context(cafile=CERTIFICATE)
    assert got(f"{secure.address}/a.jpg", context=trusting) == b"image"
    unknown = problem_of(f"{secure.address}/a.jpg")
    assert "127.0.0.1 does not prove who it is" in str(unknown) and unknown.wait is None


def test_a_server_of_another_name_is_refused(monkeypatch, secure):
    resolving(monkeypatch, [["127.0.0.1"]])
    port = secure.address.rpartition(":")[2]
    trusting = ssl.create_default_context(cafile=CERTIFICATE)
    problem = problem_of(f"https://shop.example:{port}/a.jpg", context=trusting)
    assert "shop.example does not prove who it is" in str(problem)


def test_a_redirect_from_https_to_http_is_refused(server, secure):
    secure.answers["/b.jpg"] = lambda r: reply(r, b"", 302, location=f"{server.address}/a.jpg")
    trusting = ssl.create_default_context(cafile=CERTIFICATE)
    problem = problem_of(f"{secure.address}/b.jpg", context=trusting)
    assert "not https" in str(problem) and not server.connections


def test_a_server_that_never_ends_its_handshake_is_cut_off():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        problem = problem_of(f"https://127.0.0.1:{port}/a.jpg", seconds=0.4)
        assert "more than 0.4 seconds" in str(problem)
