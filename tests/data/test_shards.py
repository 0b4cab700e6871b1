"""Shards: round trips, bytes that depend on nothing else, and that no damage passes unseen or costs more than it hits."""

import hashlib
import io
import json
import os
import pickle
import random
import subprocess
import tarfile
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unidiff_cli.data import shards
from unidiff_cli.data.shards import Row, Shards
from unidiff_cli.errors import Damaged, NotReady
from unidiff_cli.project.receipt import Receipt, close

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | TEXT
    | st.floats(allow_nan=False, allow_infinity=False),
    st.lists,
)


def row(n: int, captions=("red dress",), attributes=None, **more) -> Row:
    return Row(
        f"{n:09d}",
        f"id-{n}",
        more.pop("split", "train"),
        f"g{n}",
        tuple(captions),
        attributes or {},
        **more,
    )


def room(folder, samples, size=3):
    """A finished room of one split."""
    folder.mkdir(parents=True)
    rows, files = shards.write(folder, "train", samples, size)
    files[shards.INDEX] = shards.write_index(folder, rows)
    close(folder, Receipt("prepare", {}, files=files), 0.0)
    return rows


def some(count=8, seed=0):
    noise = random.Random(seed)
    return [(row(n), noise.randbytes(noise.randint(1, 1500))) for n in range(count)]


@given(
    st.lists(
        st.tuples(
            st.lists(TEXT, min_size=1, max_size=3),
            st.dictionaries(TEXT, VALUE, max_size=3),
            st.binary(max_size=2000),
        ),
        min_size=1,
        max_size=9,
    ),
    st.integers(1, 4),
)
@settings(max_examples=40, deadline=None)
def test_what_is_written_is_read(tmp_path_factory, samples, size):
    folder = tmp_path_factory.mktemp("s") / "shards"
    given_rows = [
        (row(n, c, a, row=c[0], path="é\n.jpg"), data) for n, (c, a, data) in enumerate(samples)
    ]
    room(folder, given_rows, size)
    opened = Shards.open(folder)
    assert len(opened.rows()) == len(samples) and shards.verify(folder) == []
    for (before, data), after in zip(given_rows, opened.rows("train"), strict=True):
        assert opened.image_bytes(after) == data
        assert (after.captions, after.attributes, after.row, after.path) == (
            before.captions,
            before.attributes,
            before.row,
            before.path,
        )
        text = json.loads(opened.json_bytes(after))
        assert text.get("captions", [text.get("caption")]) == list(before.captions)
        assert text["attributes"] == before.attributes and text["unidiff"]["id"] == before.id
    assert opened.rows("val") == []
    assert len(list(folder.glob("*.tar"))) == -(-len(samples) // size)


def test_tar_and_tarfile_and_webdataset_read_them(tmp_path):
    samples = some(5)
    room(tmp_path / "shards", samples, 5)
    path = tmp_path / "shards" / "train-00000.tar"
    with tarfile.open(path) as tar:
        members = tar.getmembers()
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {
            (0, 0, 0, "", "", 0o644)
        }
        assert [tar.extractfile(m).read() for m in members[::2]] == [data for _, data in samples]
    listed = subprocess.run(
        ["tar", "-tf", path], capture_output=True, text=True, check=True
    ).stdout.split()
    assert listed[:2] == ["000000000.jpg", "000000000.json"] and len(listed) == 10
    webdataset = pytest.importorskip("webdataset")
    read = list(webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False))
    assert [(s["__key__"], s["jpg"]) for s in read] == [(r.key, data) for r, data in samples]


def test_bytes_depend_on_the_samples_only(tmp_path, monkeypatch):
    room(tmp_path / "one", some())
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    os.umask(os.umask(0o077))
    room(tmp_path / "two", some())
    for path in sorted((tmp_path / "one").glob("[ti]*")):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_pinned_shard(tmp_path):
    """The bytes of a shard are a promise: caches and receipts name them by hash."""
    rows, files = shards.write(
        tmp_path, "train", [(row(7, attributes={"colour": "röd"}), b"\x89PNG")], 10
    )
    data = (tmp_path / "train-00000.tar").read_bytes()
    assert files == {"train-00000.tar": hashlib.sha256(data).hexdigest()}
    assert tarfile.open(fileobj=io.BytesIO(data)).getnames() == ["000000007.png", "000000007.json"]
    assert hashlib.sha256(data).hexdigest()[:16] == "45634d0b6352c6fb"


DAMAGE = ("flip", "truncate", "hole", "grow")


def damage(data: bytes, kind: str, place: int, much: int) -> bytes:
    """One of the faults of limits.md D2; the same length but for a truncation."""
    place %= len(data)
    if kind == "flip":
        return data[:place] + bytes([data[place] ^ (1 << much % 8)]) + data[place + 1 :]
    if kind == "truncate":
        return data[:place]
    if kind == "grow":
        return data + bytes(much % 1024 + 1)
    return (
        data[:place]
        + bytes(min(1 + much % 1024, len(data) - place))
        + data[place + 1 + much % 1024 :]
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "shards"
    samples = some(12, seed=1)
    room(folder, samples, 12)
    return folder, samples


@given(st.sampled_from(DAMAGE), st.integers(0, 1 << 20), st.integers(0, 1023))
@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_damage_is_seen_and_costs_only_what_it_hits(whole, kind, place, much):
    folder, samples = whole
    path = folder / "train-00000.tar"
    before = path.read_bytes()
    after = damage(before, kind, place, much)
    try:
        path.write_bytes(after)
        assert bool(shards.verify(folder)) == (after != before)
        opened = Shards.open(folder)
        for (_, data), found in zip(samples, opened.rows(), strict=True):
            end = found.image_offset + found.image_size
            if after[found.image_offset : end] == data:
                assert opened.image_bytes(found) == data
            else:
                with pytest.raises(Damaged, match=f"train-00000.tar.*{found.key}") as error:
                    opened.image_bytes(found)
                assert "prepare --force" in error.value.action
    finally:
        path.write_bytes(before)


@given(st.sampled_from(DAMAGE), st.integers(0, 1 << 20), st.integers(0, 1023))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_damaged_index_is_never_believed(whole, kind, place, much):
    folder, _ = whole
    path = folder / shards.INDEX
    before = path.read_bytes()
    after = damage(before, kind, place, much)
    if after == before:
        return
    try:
        path.write_bytes(after)
        assert shards.verify(folder) == ["index.parquet is damaged."]
        with pytest.raises(Damaged, match="index.parquet"):
            Shards.open(folder)
    finally:
        path.write_bytes(before)


def test_missing_extra_and_unfinished(tmp_path):
    folder = tmp_path / "shards"
    room(folder, some())
    (folder / "train-00001.tar").unlink()
    (folder / "val-00000.tar").write_bytes(b"")
    assert shards.verify(folder) == [
        "train-00001.tar is missing.",
        "val-00000.tar is not in the receipt.",
    ]
    opened = Shards.open(folder)
    assert opened.image_bytes(opened.rows()[0])
    with pytest.raises(Damaged, match="train-00001.tar cannot be read"):
        opened.image_bytes(opened.rows()[3])
    (folder / "receipt.json").unlink()
    assert "receipt" in shards.verify(folder)[0]
    with pytest.raises(NotReady, match="no receipt"):
        Shards.open(folder)


def test_threads_forks_and_pickles_share_one(tmp_path, monkeypatch):
    samples = some(30)
    room(tmp_path / "shards", samples, 2)
    opened = Shards.open(tmp_path / "shards")
    monkeypatch.setattr(shards, "MAX_OPEN", 4)
    wrong = []

    def read(who):
        order = random.Random(id(who)).sample(range(30), 30)
        wrong.extend(n for n in order if who.image_bytes(who.rows()[n]) != samples[n][1])

    several = [threading.Thread(target=read, args=(opened,)) for _ in range(4)]
    for thread in several:
        thread.start()
    pid = os.fork()
    if not pid:
        read(opened)
        os._exit(len(wrong))
    for thread in several:
        thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    read(pickle.loads(pickle.dumps(opened)))
    assert not wrong and len(opened._files) <= 4 + 4  # a thread more each may slip in
