"""Images of web addresses: once into the cache, each failure one row, from there into shards."""

import json
import os
import subprocess
import sys
import threading
import time
from functools import partial

import pytest

from tests.support.catalogue import encoded, photo, put
from tests.support.web import reply, serving
from unidiff_cli import Project, Recipe, prepare
from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data import downloads, readers
from unidiff_cli.data import prepare as prepare_module
from unidiff_cli.data.downloads import Downloads
from unidiff_cli.data.web_client import Client
from unidiff_cli.errors import EnvironmentProblem, Interrupted, Problems, WorkError

LOOPBACK = ("127.0.0.0/8",)
ALLOWED = Recipe.model_validate({"prepare": {"allow_urls": True, "max_bad": 0.5}})


@pytest.fixture
def server():
    with serving() as each:
        yield each


@pytest.fixture
def loopback(monkeypatch):
    """Makes prepare download from this machine, and wait for nobody."""
    monkeypatch.setattr(prepare_module, "Client", partial(Client, allowed=LOOPBACK))
    monkeypatch.setattr(prepare_module, "Downloads", partial(Downloads, pause=0.01))


def folder_of(tmp_path, **options) -> Downloads:
    client = Client(1000, 5, LOOPBACK)
    return Downloads(tmp_path / "downloads", client, **{"pause": 0.01} | options)


def reasons_of(tmp_path, addresses, **options) -> list[str]:
    """Why addresses gave nothing, in their order; "" for one that was downloaded."""
    reasons = folder_of(tmp_path, **options).fetch(addresses, None)
    return [reasons[a].text if a in reasons else "" for a in addresses]


def write_shop(folder, server, count: int = 24):
    """A catalogue whose images all lie on the server."""
    rows = []
    for n in range(count):
        server.answers[f"/{n}.jpg?v=1"] = encoded(photo(n))
        rows.append({"image": f"{server.address}/{n}.jpg?v=1", "caption": f"thing {n}"})
    put(folder / "captions.jsonl", "\n".join(map(json.dumps, rows)))
    return folder


# ---------------------------------------------------------------- through prepare


def test_images_are_downloaded_once(tmp_path, server, loopback):
    shop, project = write_shop(tmp_path / "shop", server), Project(tmp_path / "project")
    seen = []
    first = prepare(project, ALLOWED, shop, on_progress=lambda *step: seen.append(step))
    assert first.counts["samples"] == 24 and first.counts["bad"] == 0
    assert server.asked.total() == 24 and ("downloads", 24, 24) in seen
    again = prepare(project, ALLOWED, shop)
    assert again.finished == first.finished
    forced = prepare(project, ALLOWED, shop, force=True)
    assert forced.content == first.content and server.asked.total() == 24


def test_they_are_the_images_of_the_same_files(tmp_path, server, loopback):
    shop = write_shop(tmp_path / "shop", server)
    there = prepare(Project(tmp_path / "there"), ALLOWED, shop)
    lines = (shop / "captions.jsonl").read_text().replace(f"{server.address}/", "")
    put(tmp_path / "local" / "captions.jsonl", lines.replace("?v=1", ""))
    for n in range(24):
        put(tmp_path / "local" / f"{n}.jpg", encoded(photo(n)))
    here = prepare(Project(tmp_path / "here"), ALLOWED, tmp_path / "local")
    assert there.counts == here.counts


def test_each_failure_is_a_row_with_its_reason(tmp_path, server, loopback):
    shop, project = write_shop(tmp_path / "shop", server), Project(tmp_path / "project")
    del server.answers["/0.jpg?v=1"]
    server.answers["/1.jpg?v=1"] = b"no image at all"
    server.answers["/2.jpg?v=1"] = lambda r: reply(
        r, b"", 302, location="http://169.254.169.254/latest"
    )
    receipt = prepare(project, ALLOWED, shop)
    lines = project.path("shards", "quarantine.jsonl").read_text().splitlines()
    reasons = {row["path"]: row["reason"] for row in map(json.loads, lines)}
    assert receipt.counts["samples"] == 21 and reasons == {
        f"{server.address}/0.jpg?v=1": "its download failed: the server has no such image (404)",
        f"{server.address}/1.jpg?v=1": "text, not an image",
        f"{server.address}/2.jpg?v=1": (
            "its download failed: denied: 169.254.169.254 is 169.254.169.254, "
            "which is no public address"
        ),
    }


def test_what_is_mended_on_the_server_is_another_catalogue(tmp_path, server, loopback):
    shop, project = write_shop(tmp_path / "shop", server), Project(tmp_path / "project")
    image = server.answers.pop("/0.jpg?v=1")
    assert prepare(project, ALLOWED, shop).counts["samples"] == 23
    server.answers["/0.jpg?v=1"] = image
    assert prepare(project, ALLOWED, shop).counts["samples"] == 24
    assert server.asked.pop("/0.jpg?v=1") == 2 and set(server.asked.values()) == {1}


def test_without_the_flag_nothing_is_asked_for_and_the_flag_is_named(tmp_path, server):
    shop = write_shop(tmp_path / "shop", server)
    put(shop / "a.jpg", encoded(photo(0)))
    with open(shop / "captions.jsonl", "a") as table:
        table.write("\n" + json.dumps({"image": "a.jpg", "caption": "here"}))
    reader = readers.choose(shop, Prepare())
    list(reader)
    assert reader.describe()[-1].endswith("here")
    (doubt,) = reader.doubts()
    host = server.address.removeprefix("http://")
    assert doubt.fact.startswith(f"24 rows name their image by a web address ({host})")
    assert doubt.action.startswith("To download 24 images") and "--allow-urls" in doubt.action
    with pytest.raises(WorkError, match="24: a web address: --allow-urls downloads it"):
        prepare(Project(tmp_path / "project"), Recipe(), shop)
    with pytest.raises(Problems, match="24 rows name their image by a web address"):
        prepare(Project(tmp_path / "project"), Recipe(), shop, strict=True)
    assert not server.connections


def test_this_machine_is_denied_without_an_allowance(tmp_path, server):
    shop = write_shop(tmp_path / "shop", server)
    with pytest.raises(WorkError, match="which is no public address"):
        prepare(Project(tmp_path / "project"), ALLOWED, shop)
    assert not server.connections


def test_secrets_of_addresses_are_shown_nowhere(tmp_path, server, loopback):
    shop, project = write_shop(tmp_path / "shop", server), Project(tmp_path / "project")
    text = (shop / "captions.jsonl").read_text().replace("v=1", "v=1&X-Amz-Signature=s3cr3t")
    (shop / "captions.jsonl").write_text(text)
    for path in list(server.answers):
        server.answers[f"{path}&X-Amz-Signature=s3cr3t"] = server.answers.pop(path)
    del server.answers["/3.jpg?v=1&X-Amz-Signature=s3cr3t"]
    assert prepare(project, ALLOWED, shop).counts["samples"] == 23
    for file in project.root.rglob("*"):
        assert not file.is_file() or b"s3cr3t" not in file.read_bytes(), file


def test_a_full_disk_ends_the_work_in_a_sentence(monkeypatch, tmp_path, server, loopback):
    shop = write_shop(tmp_path / "shop", server)

    def full(*_):
        raise OSError(28, "No space left on device", "x")

    monkeypatch.setattr(Downloads, "download", full)
    with pytest.raises(EnvironmentProblem, match="disk is full.*downloaded stays"):
        prepare(Project(tmp_path / "project"), ALLOWED, shop)


def test_a_dry_run_shows_the_rows_and_downloads_nothing(tmp_path, server):
    shop = write_shop(tmp_path / "shop", server)
    description, doubts, _ = prepare_module.plan(ALLOWED, shop)
    assert description[-1] == "  captions.jsonl:3: thing 2" and doubts == []
    assert not server.connections


# ---------------------------------------------------------------- the cache


def test_a_work_that_ended_goes_on_where_it_was(tmp_path, server):
    addresses = [f"{server.address}/{n}.jpg" for n in range(20)]
    server.answers |= {f"/{n}.jpg": b"image %d" % n for n in range(20)}

    def on_progress(done, total):
        if done == 8:
            raise Interrupted(15, "Ended.")

    with pytest.raises(Interrupted):
        folder_of(tmp_path, per_host=1).fetch(addresses, on_progress)
    assert 8 <= server.asked.total() <= 20
    again = folder_of(tmp_path)
    assert again.fetch(addresses, None) == {}
    assert [again.image(a).read() for a in addresses] == [b"image %d" % n for n in range(20)]
    # What was on its way may be asked for twice.
    assert server.asked.total() <= 21


FETCH = """
import sys
from pathlib import Path
from unidiff_cli.data.downloads import Downloads
from unidiff_cli.data.web_client import Client
downloads = Downloads(Path(sys.argv[1]), Client(1000, 5, ["127.0.0.0/8"]), per_host=1)
downloads.fetch(sys.argv[2:], lambda done, total: print(done, flush=True))
"""


def test_a_kill_costs_what_was_on_its_way(tmp_path, server):
    def slow(handler) -> None:
        time.sleep(0.05)
        reply(handler, b"image")

    server.answers |= {f"/{n}.jpg": slow for n in range(20)}
    addresses = [f"{server.address}/{n}.jpg" for n in range(20)]
    command = [sys.executable, "-c", FETCH, str(tmp_path / "downloads"), *addresses]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.stdout.readline().strip() != "8":
            assert process.poll() is None
        process.kill()
    before = sum(folder_of(tmp_path).image(address).exists() for address in addresses)
    assert 8 <= before < 20
    again = folder_of(tmp_path)
    assert again.fetch(addresses, None) == {} and server.asked.total() <= 21
    assert all(again.image(address).read() == b"image" for address in addresses)
    assert not list((tmp_path / "downloads").glob("*.part"))


def test_unfinished_and_shortened_files_are_none(tmp_path, server):
    address = f"{server.address}/a.jpg"
    server.answers["/a.jpg"] = b"image"
    folder_of(tmp_path).fetch([address], None)
    (file,) = (p for p in (tmp_path / "downloads").rglob("*") if p.is_file())
    os.truncate(file, 3)
    put(tmp_path / "downloads" / "x.part", b"x")
    put(tmp_path / "downloads" / "ab" / "somebody.txt", b"x")
    again = folder_of(tmp_path)
    assert not again.image(address).exists()
    again.fetch([address], None)
    assert again.image(address).read() == b"image" and server.asked["/a.jpg"] == 2
    assert not list((tmp_path / "downloads").glob("*.part"))


def test_a_changed_file_is_not_believed(tmp_path, server):
    address = f"{server.address}/a.jpg"
    server.answers["/a.jpg"] = b"image"
    folder = folder_of(tmp_path)
    folder.fetch([address], None)
    folder.image(address).file.write_bytes(b"IMAGE")
    with pytest.raises(OSError, match="its download was changed; delete"):
        folder_of(tmp_path).image(address).read()


# ---------------------------------------------------------------- hosts


def test_a_host_gets_few_connections_at_a_time(tmp_path, server):
    now, most, lock = [0], [0], threading.Lock()

    def answer(handler) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.02)
        reply(handler, b"image")
        with lock:
            now[0] -= 1

    server.answers |= {f"/{n}.jpg": answer for n in range(30)}
    addresses = [f"{server.address}/{n}.jpg" for n in range(30)]
    assert reasons_of(tmp_path, addresses) == [""] * 30
    assert most[0] <= downloads.PER_HOST and len(server.connections) <= downloads.PER_HOST


def test_a_busy_server_is_asked_again_after_a_while(tmp_path, server):
    times = []

    def answer(handler) -> None:
        times.append(time.monotonic())
        reply(handler, b"image", 503 if len(times) < 3 else 200)

    server.answers["/a.jpg"] = answer
    assert reasons_of(tmp_path, [f"{server.address}/a.jpg"], pause=0.1) == [""]
    assert times[1] - times[0] >= 0.1 and times[2] - times[1] >= 0.2


def test_a_server_that_stays_busy_is_given_up(tmp_path, server):
    server.answers["/a.jpg"] = lambda r: reply(r, b"", 503)
    (reason,) = reasons_of(tmp_path, [f"{server.address}/a.jpg"])
    assert reason == "its download failed: the server is busy or broken (503)"
    assert server.asked["/a.jpg"] == downloads.TRIES


def test_what_is_not_there_is_asked_for_once(tmp_path, server):
    reasons_of(tmp_path, [f"{server.address}/a.jpg"] * 3)
    assert server.asked["/a.jpg"] == 1


def test_a_host_that_does_not_answer_is_left_alone(tmp_path, server):
    server.answers["/a.jpg"] = b"image"
    nobody = [f"http://127.0.0.9:1/{n}.jpg" for n in range(40)]
    reasons = reasons_of(tmp_path, [*nobody, f"{server.address}/a.jpg"])
    assert reasons[-1] == ""
    left = [text for text in reasons if "did not answer 5 times in a row" in text]
    # Each of the connections may be trying one meanwhile.
    assert 40 - downloads.PATIENCE - downloads.PER_HOST <= len(left) <= 40 - downloads.PATIENCE
    assert "127.0.0.9:1" in left[0]


def test_addresses_that_are_none_cost_themselves(tmp_path, server):
    server.answers["/a.jpg"] = b"image"
    bad = ["http://", "http://x:y@shop.example/a", "http://[::1/a", "http://a b/c"]
    reasons = reasons_of(tmp_path, [*bad, f"{server.address}/a.jpg"])
    assert all(reasons[:-1]) and reasons[-1] == ""
