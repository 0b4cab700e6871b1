"""Who may ask, how much, and what a browser may do with the answer."""

import asyncio

import pytest

from tests.support.service import client_of
from unidiff_cli.service.guard import Guard
from unidiff_cli.service.limits import Limits
from unidiff_cli.service.service import Service

TOKEN = "sesame-αβγ"


@pytest.fixture(scope="module")
def guarded(finished):
    with client_of(Service(finished), token=TOKEN) as client:
        yield client


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", ""]
)
def test_another_name_is_not_answered(client, host):
    assert client.get("/healthz", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000"])
def test_names_of_this_machine_are(client, host):
    assert client.get("/healthz", headers={"host": host}).status_code == 200


def test_a_page_of_another_site_sends_nothing(client):
    answer = client.post("/v1/retrieve", data={"text": "x"}, headers={"origin": "http://evil"})
    assert answer.status_code == 403
    answer = client.post(
        "/v1/retrieve", data={"text": "x"}, headers={"origin": "http://127.0.0.1:8000"}
    )
    assert answer.status_code == 200
    # No other site may read either: it says nothing of other origins.
    assert "access-control-allow-origin" not in answer.headers


def test_a_browser_gets_a_policy_with_every_answer(client, item):
    for place in ("/", f"/v1/items/{item}", "/none", f"/v1/items/{item}/image"):
        headers = client.get(place).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]


@pytest.mark.parametrize(
    "place", ["/", "/v1/items/{item}", "/metrics", "/docs", "/openapi.json", "/queries/x"]
)
def test_a_token_is_asked_for_everywhere(guarded, item, place):
    place = place.format(item=item)
    assert guarded.get(place, headers={"accept": "*/*"}).status_code == 401
    wrong = {"authorization": "Bearer sesam"}
    assert guarded.get(place, headers=wrong).status_code == 401
    right = {"authorization": f"Bearer {TOKEN}".encode()}
    assert guarded.get(place, headers=right).status_code in (200, 404)


def test_a_browser_is_asked_for_the_token_once(guarded):
    answer = guarded.get("/", headers={"accept": "text/html"}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert guarded.get("/login").status_code == 200
    assert guarded.post("/login", data={"token": "wrong"}).status_code == 401
    answer = guarded.post("/login", data={"token": TOKEN}, follow_redirects=False)
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie
    assert guarded.get("/", headers={"accept": "text/html"}).status_code == 200
    guarded.cookies.clear()


def test_a_body_that_is_too_large_is_not_read(client, service):
    answer = client.post("/v1/retrieve", content=b"x" * (service.limits.body + 1))
    assert answer.status_code == 413 and "20,971,520 bytes" in answer.json()["detail"]


def answered(guard, messages, headers=()):
    """What a guard answers to a body that comes in pieces; None waits for ever."""
    sent = []

    async def receive():
        if (message := messages.pop(0)) is None:
            await asyncio.sleep(60)
        return {"type": "http.request", "body": message, "more_body": True}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": list(headers)}
    asyncio.run(guard(scope, receive, send))
    return sent[0]["status"]


async def never(scope, receive, send):
    raise AssertionError("it was let through")


def test_a_body_of_unknown_length_and_one_that_does_not_come_are_given_up():
    guard = Guard(never, Limits(body=100, pause=0.1))
    assert answered(guard, [b"x" * 60, b"x" * 60]) == 413
    assert answered(guard, [b"x", None]) == 408
    assert answered(Guard(never, Limits(reading=0.3, pause=0.2)), [b"x", None]) == 408
    full = Guard(never, Limits(body=100, bodies=50))
    assert answered(full, [], [(b"content-length", b"60")]) == 429
    assert answered(full, [], [(b"content-length", b"many")]) == 400
    # Nor what comes without saying how much it is; after it there is room again.
    assert answered(full, [b"x" * 60]) == 429
    assert full._held == 0
