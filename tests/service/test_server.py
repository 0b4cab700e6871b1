"""`unidiff serve` as a process: its address, its end, and the client in Python."""

import signal
import socket
import threading

import pytest

from tests.support.processes import ended, gone, listening, started_by, unidiff
from unidiff_cli.errors import EnvironmentProblem, UsageError, WorkError
from unidiff_cli.service.client import Client
from unidiff_cli.service.server import is_local, serve


def address_of(process):
    """The line that says where it listens."""
    return process.stdout.readline().strip()


@pytest.mark.slow
def test_a_client_finds_and_generates_and_a_signal_ends_it_after_what_runs(finished, catalogue):
    with unidiff(finished.root, "serve", "--port", "0") as process:
        address = address_of(process)
        assert address.startswith("http://127.0.0.1:") and listening(process) == {"127.0.0.1"}
        with Client(address) as client:
            image = catalogue / "images" / "p007-1.png"
            hits = client.retrieve("red", images=[image], k=3, where="color = 'red'")
            assert len(hits) == 3 and client.item(hits[0]["id"])["captions"]
            assert client.image(hits[0]["thumbnail"]).startswith(b"\xff\xd8")
            with pytest.raises(WorkError, match="no column"):
                client.retrieve("red", where="colour = 'red'")
            *_, last = client.generate("red dress", count=1, steps=2)
            assert last["state"] == "done" and client.image(last["images"][0]["image"])
            # It is cancelled by who no longer listens.
            for job in client.generate("red dress", count=4, steps=900):
                if job["state"] == "running" and job["done"]:
                    break
            *_, last = client.generate("blue dress", count=1, steps=1)
            assert last["state"] == "done"
            running = client.generate("red dress", count=1, steps=100)
            states = [next(running)["state"]]
            children = started_by(process)
            process.send_signal(signal.SIGTERM)
            states += [job["state"] for job in running]
        code, _, err = ended(process, 60)
    assert code == 143 and "Traceback" not in err and gone(children), err
    assert states[-1] == "done" and "Interrupted by SIGTERM" in err


@pytest.mark.slow
def test_requests_that_run_when_it_is_stopped_are_answered(finished):
    with unidiff(finished.root, "serve", "--port", "0") as process:
        address = address_of(process)
        answers, failed = [], []

        def ask():
            with Client(address) as client:
                try:
                    while True:
                        answers.append(client.retrieve("red dress", k=5))
                except EnvironmentProblem as problem:
                    # A new connection is refused once it listens no more; an answer is never cut.
                    failed.append(str(problem))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        while len(answers) < 50:
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        code, _, err = ended(process, 60)
        for thread in threads:
            thread.join()
    assert code == 143 and "Traceback" not in err, err
    assert all(answer == answers[0] for answer in answers) and len(failed) == 8


def test_an_address_that_is_taken_is_named(finished):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(EnvironmentProblem, match=f"127.0.0.1:{port} cannot be taken"):
            serve(finished, port=port)


def test_others_reach_nothing_without_a_token(finished):
    for host in ("0.0.0.0", "::", "192.168.1.5", "shop.example"):
        assert not is_local(host)
        with pytest.raises(UsageError, match="no token is asked for"):
            serve(finished, host=host)
    assert all(map(is_local, ("127.0.0.1", "localhost", "::1", "127.0.0.2")))


def test_a_client_says_that_nobody_is_there():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    with Client(f"http://127.0.0.1:{port}") as client:
        with pytest.raises(EnvironmentProblem, match="cannot be reached"):
            client.retrieve("red")
