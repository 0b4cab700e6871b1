"""Shards: round trips, bytes that depend on nothing else, and damage that is seen where it hits."""

import hashlib
import io
import json
import os
import pickle
import random
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.damage import DAMAGE, damage
from tests.support.shards import random_samples, row_of, write_shards
from unidiff_cli.data import tars
from unidiff_cli.data.index_file import INDEX
from unidiff_cli.data.shard_writer import header, write_shard
from unidiff_cli.data.shards import Shards
from unidiff_cli.errors import Damaged, NotReady

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | TEXT
    | st.floats(allow_nan=False, allow_infinity=False),
    st.lists,
)
SAMPLE = st.tuples(
    st.lists(TEXT, min_size=1, max_size=3),
    st.dictionaries(TEXT, VALUE, max_size=3),
    st.binary(max_size=2000),
)


# ---------------------------------------------------------------- round trips


@given(st.lists(SAMPLE, min_size=1, max_size=9), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_what_is_written_is_read(tmp_path_factory, samples, size):
    folder = tmp_path_factory.mktemp("s") / "shards"
    written = [
        (row_of(n, captions, attributes, row=captions[0], path="é\n.jpg"), data)
        for n, (captions, attributes, data) in enumerate(samples)
    ]
    write_shards(folder, written, size)
    opened = Shards.open(folder)
    images = list(opened.images(opened.rows("train")))
    assert images == list(opened.images(list(opened.rows("train"))))
    for (before, data), after, image in zip(written, opened.rows("train"), images, strict=True):
        assert opened.image_bytes(after) == image == data
        for name in ("captions", "attributes", "row", "path"):
            assert getattr(after, name) == getattr(before, name)
        text = json.loads(opened.json_bytes(after))
        assert text.get("captions", [text.get("caption")]) == list(before.captions)
        assert text["attributes"] == before.attributes and text["unidiff"]["id"] == before.id
    assert opened.rows("val") == []
    assert len(list(folder.glob("*.tar"))) == -(-len(samples) // size)


@pytest.fixture
def tar(tmp_path) -> tuple[Path, list]:
    """One shard of five samples, and the samples."""
    samples = random_samples(5)
    write_shards(tmp_path / "shards", samples, 5)
    return tmp_path / "shards" / "train-00000.tar", samples


def test_tarfile_reads_them(tar):
    path, samples = tar
    with tarfile.open(path) as opened:
        members = opened.getmembers()
        assert [opened.extractfile(m).read() for m in members[::2]] == [d for _, d in samples]


def test_headers_hold_no_times_and_no_users(tar):
    with tarfile.open(tar[0]) as opened:
        headers = {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in opened.getmembers()}
    assert headers == {(0, 0, 0, "", "", 0o644)}


@pytest.mark.parametrize("size", [0, 1, 511, 512, 10**6, 8**11 - 1])
@pytest.mark.parametrize(
    "name",
    ["000000000.jpg", "é.json", "a/b c.webp", "x" * 100, "x" * 60 + "/" + "y" * 60, "\udcff"],
)
def test_a_header_is_byte_for_byte_tarfiles(name, size):
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    assert header(name, size) == info.tobuf(tarfile.USTAR_FORMAT)


@pytest.mark.parametrize(("name", "size"), [("x" * 300, 1), ("x", 8**11)])
def test_what_no_header_holds_is_refused(name, size):
    with pytest.raises(ValueError):
        header(name, size)


def test_tar_lists_them(tar):
    command = ["tar", "-tf", tar[0]]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert names[:2] == ["000000000.jpg", "000000000.json"] and len(names) == 10


def test_webdataset_reads_them(tar):
    import webdataset

    path, samples = tar
    read = list(webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False))
    assert [(s["__key__"], s["jpg"]) for s in read] == [(row.key, data) for row, data in samples]


def test_bytes_depend_on_the_samples_only(tmp_path, monkeypatch):
    write_shards(tmp_path / "one", random_samples())
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    os.umask(os.umask(0o077))
    write_shards(tmp_path / "two", random_samples())
    for path in sorted((tmp_path / "one").glob("[ti]*")):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_pinned_shard(tmp_path):
    """The bytes of a shard are a promise: caches and receipts name them by hash."""
    sample = (row_of(7, attributes={"colour": "röd"}), b"\x89PNG")
    file = tmp_path / "train-00000.tar"
    rows, sha256 = write_shard(file, file.name, [sample])
    data = file.read_bytes()
    assert sha256 == hashlib.sha256(data).hexdigest()
    assert tarfile.open(fileobj=io.BytesIO(data)).getnames() == ["000000007.png", "000000007.json"]
    assert hashlib.sha256(data).hexdigest()[:16] == "c872ecccb0ff0abb"


# ---------------------------------------------------------------- damage


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder of one shard, and its samples."""
    folder = tmp_path_factory.mktemp("whole") / "shards"
    samples = random_samples(12, seed=1)
    write_shards(folder, samples, 12)
    return folder, samples


@given(st.sampled_from(DAMAGE), st.integers(0, 1 << 20), st.integers(0, 1023))
@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damage_is_seen_and_costs_only_what_it_hits(whole, kind, place, much):
    folder, samples = whole
    path = folder / "train-00000.tar"
    before = path.read_bytes()
    after = damage(before, kind, place, much)
    try:
        path.write_bytes(after)
        opened = Shards.open(folder)
        for (_, data), row in zip(samples, opened.rows(), strict=True):
            if after[row.image_offset : row.image_offset + row.image_size] == data:
                assert opened.image_bytes(row) == data
            else:
                with pytest.raises(Damaged, match=f"train-00000.tar.*{row.key}") as error:
                    opened.image_bytes(row)
                assert "prepare --force" in error.value.action
                with pytest.raises(Damaged, match=f"train-00000.tar.*{row.key}"):
                    list(opened.images([row]))
    finally:
        path.write_bytes(before)


@given(st.sampled_from(DAMAGE), st.integers(0, 1 << 20), st.integers(0, 1023))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_damaged_index_is_never_believed(whole, kind, place, much):
    folder, _ = whole
    path = folder / INDEX
    before = path.read_bytes()
    after = damage(before, kind, place, much)
    if after == before:
        return
    try:
        path.write_bytes(after)
        with pytest.raises(Damaged, match="index.parquet"):
            Shards.open(folder)
    finally:
        path.write_bytes(before)


def test_a_missing_shard_costs_its_own_samples(tmp_path):
    write_shards(tmp_path / "shards", random_samples())
    (tmp_path / "shards" / "train-00001.tar").unlink()
    opened = Shards.open(tmp_path / "shards")
    assert opened.image_bytes(opened.rows()[0])
    with pytest.raises(Damaged, match="train-00001.tar cannot be read"):
        opened.image_bytes(opened.rows()[3])


def test_shards_without_a_receipt_are_unfinished(tmp_path):
    write_shards(tmp_path / "shards", random_samples())
    (tmp_path / "shards" / "receipt.json").unlink()
    with pytest.raises(NotReady, match="no receipt"):
        Shards.open(tmp_path / "shards")


# ---------------------------------------------------------------- shared


def test_threads_forks_and_pickles_share_one(tmp_path, monkeypatch):
    samples = random_samples(30)
    write_shards(tmp_path / "shards", samples, 2)
    opened = Shards.open(tmp_path / "shards")
    monkeypatch.setattr(tars, "MAX_OPEN", 4)
    wrong = []

    def read(reader: Shards) -> None:
        order = random.Random(id(reader)).sample(range(30), 30)
        rows = reader.rows()
        wrong.extend(n for n in order if reader.image_bytes(rows[n]) != samples[n][1])

    threads = [threading.Thread(target=read, args=(opened,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    pid = os.fork()
    if not pid:
        read(opened)
        os._exit(len(wrong))
    for thread in threads:
        thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    read(pickle.loads(pickle.dumps(opened)))
    # A thread more each may slip in.
    assert not wrong and len(opened.tars._files) <= 4 + 4
