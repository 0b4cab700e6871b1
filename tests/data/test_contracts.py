"""What every location, executor and reader must hold: a second one is added to the tables here."""

import hashlib
import json
import multiprocessing
import os
import pickle
import signal
import struct
import time
import zipfile
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import fsspec
import pytest

from tests.support.catalogue import bounds, contents, encoded, photo, put, tar_of
from unidiff_cli import registry
from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data import readers
from unidiff_cli.data.downloads import WebImage
from unidiff_cli.data.executors import Executor, ProcessExecutor
from unidiff_cli.data.images import PreparedImage, prepare_image
from unidiff_cli.data.locations import InMemory, LocalPath, Location, locate
from unidiff_cli.data.readers import Reader
from unidiff_cli.data.rooted import Rooted
from unidiff_cli.data.sample import Rejected, Sample
from unidiff_cli.data.zips import InZip

# ---------------------------------------------------------------- locations

DATA = b"some bytes \0 of a file"


def local_file(folder: Path) -> Location:
    return LocalPath(put(folder / "Image.JPG", DATA))


def memory_file(folder: Path) -> Location:
    return InMemory("shard.tar:Image.JPG", DATA)


def local_folder(folder: Path) -> Location:
    for name in ("b/inner.txt", "a.txt", "é.txt", ".hidden"):
        put(folder / name, DATA)
    return LocalPath(folder)


def zipped_file(folder: Path) -> Location:
    return zipped(folder, {"Image.JPG": DATA}).child("Image.JPG")


def zipped_folder(folder: Path) -> Location:
    return zipped(folder, dict.fromkeys(("b/inner.txt", "a.txt", "é.txt", ".hidden"), DATA))


def zipped(folder: Path, members: dict[str, bytes]) -> Location:
    with zipfile.ZipFile(folder / "shop.zip", "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return InZip(LocalPath(folder / "shop.zip"))


def rooted_file(folder: Path) -> Location:
    return Rooted(local_file(folder / "export"), LocalPath(folder))


def remote_file(folder: Path) -> Location:
    fsspec.filesystem("memory").pipe(f"{folder}/Image.JPG", DATA)
    return locate(f"memory:/{folder}/Image.JPG")


def web_file(folder: Path) -> Location:
    name = f"{'0' * 40}-{hashlib.sha256(DATA).hexdigest()}-{len(DATA)}"
    return WebImage("https://shop.example/a/Image.JPG?v=1", put(folder / name, DATA))


def remote_folder(folder: Path) -> Location:
    for name in ("b/inner.txt", "a.txt", "é.txt", ".hidden"):
        fsspec.filesystem("memory").pipe(f"{folder}/{name}", DATA)
    return locate(f"memory:/{folder}")


FILES = {
    "LocalPath": local_file,
    "InMemory": memory_file,
    "InZip": zipped_file,
    "Rooted": rooted_file,
    "RemotePath": remote_file,
    "WebImage": web_file,
}
FOLDERS = {"LocalPath": local_folder, "InZip": zipped_folder, "RemotePath": remote_folder}


@pytest.fixture(params=FILES)
def file(request, tmp_path) -> Location:
    return FILES[request.param](tmp_path)


@pytest.fixture(params=FOLDERS)
def folder(request, tmp_path) -> Location:
    return FOLDERS[request.param](tmp_path)


class TestFile:
    def test_it_opens_as_often_as_one_likes(self, file):
        assert file.read() == file.read() == DATA
        with file.open() as first, file.open() as second:
            assert first.read(4) == second.read(4) == DATA[:4]

    def test_it_has_a_name_a_suffix_and_a_size(self, file):
        assert file.name.endswith("Image.JPG") and file.suffix == ".jpg"
        assert file.size == file.stat().size == len(DATA)

    def test_it_is_a_file_that_exists(self, file):
        assert file.stat().kind == "file"
        assert file.exists() and file.is_file() and not file.is_folder()

    def test_its_version_stays_while_it_does(self, file):
        assert file.version == file.stat().version == file.version

    def test_it_pickles_and_equals_its_copy(self, file):
        copy = pickle.loads(pickle.dumps(file))
        assert copy == file and hash(copy) == hash(file) and copy.read() == DATA

    def test_its_image_is_prepared_like_any_other(self, file):
        assert prepare_image(file, 64, bounds()).text == "text, not an image"


class TestFolder:
    def test_its_entries_come_in_a_fixed_order(self, folder):
        entries = [(entry.location.name, entry.is_folder) for entry in folder.entries()]
        files = [(".hidden", False), ("a.txt", False), ("b", True), ("é.txt", False)]
        assert entries == files

    def test_its_visible_files(self, folder):
        assert [file.name for file in folder.files()] == ["a.txt", "é.txt"]

    def test_it_is_a_folder_that_exists(self, folder):
        assert folder.is_folder() and folder.exists() and not folder.is_file()

    def test_a_child_is_named_by_its_relative_path(self, folder):
        child = folder.child("b/inner.txt")
        assert child.read() == DATA and child.relative_to(folder) == "b/inner.txt"
        assert child.parent == folder.child("b") and child.parent.parent == folder
        assert folder.child("b").sibling("a.txt") == folder.child("a.txt")

    def test_two_addresses_of_one_folder_have_one_identity(self, folder):
        assert folder.child("b").parent.stat().identity == folder.stat().identity
        assert folder.child("b").stat().identity != folder.stat().identity

    def test_what_is_missing_says_so(self, folder):
        missing = folder.child("missing.txt")
        assert not missing.exists() and missing.files() == []
        for read in (missing.stat, missing.open):
            with pytest.raises(FileNotFoundError):
                read()


def test_a_changed_file_has_another_version_though_its_time_is_put_back(tmp_path):
    file = local_file(tmp_path)
    before, times = file.version, os.stat(file)
    put(tmp_path / "Image.JPG", DATA[::-1])
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert file.version != before and file.size == len(DATA)


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert locate(tmp_path / "pipe").stat().kind == "other"


def test_an_address_that_cannot_be_is_nothing_and_no_error():
    for address in ("x" * 5000, "a\0b"):
        assert not locate("/tmp").child(address).exists()


def test_a_word_is_a_path_from_here_and_a_tilde_is_home(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert str(locate("shop")) == str(tmp_path / "shop")
    assert str(locate("~/shop")) == str(tmp_path / "home" / "shop")


# ---------------------------------------------------------------- executors


def ray_executor() -> Executor:
    pytest.importorskip("ray", reason="comes with the extra `ray`")
    from unidiff_cli.data.ray_executor import RayExecutor

    return RayExecutor()


EXECUTORS: dict[str, Callable[[], Executor]] = {
    "one process": lambda: ProcessExecutor(1),
    "processes": lambda: ProcessExecutor(2),
    "ray": ray_executor,
}
# Those that send results through pipes of ours.
OURS = ("one process", "processes")
# It starts a cluster.
RAY = pytest.param("ray", marks=pytest.mark.slow)
NAMES = [*OURS, RAY]
COUNT = 400


@pytest.fixture(params=NAMES)
def executor(request) -> Executor:
    return EXECUTORS[request.param]()


def slow_if_even(number: int) -> str:
    time.sleep(0.002 * (number % 2 == 0))
    return str(number)


def fail_at_70(number: int) -> str:
    if number == 70:
        raise ArithmeticError("70")
    return str(number)


def crash_at_70(number: int) -> str:
    if number == 70:
        os.kill(os.getpid(), 9)
    return str(number)


class TestExecutor:
    def test_results_come_in_the_order_of_the_sources(self, executor):
        results = list(executor.map(slow_if_even, range(COUNT), "crashed"))
        assert results == [str(n) for n in range(COUNT)]

    @pytest.mark.parametrize("count", [0, 1, 3])
    def test_few_sources(self, executor, count):
        results = list(executor.map(str, range(count), "crashed"))
        assert results == [str(n) for n in range(count)]

    def test_sources_are_taken_only_so_far_ahead(self, executor):
        taken = []
        sources = (taken.append(n) or n for n in range(10 * executor.ahead))
        results = executor.map(str, sources, "crashed")
        for asked in range(1, 40):
            next(results)
            assert len(taken) <= asked + executor.ahead
        results.close()

    def test_an_exception_is_raised(self, executor):
        with pytest.raises(ArithmeticError, match="70"):
            list(executor.map(fail_at_70, range(COUNT), "crashed"))

    def test_closing_ends_the_work(self, executor):
        results = executor.map(slow_if_even, range(COUNT), "crashed")
        next(results)
        results.close()
        assert multiprocessing.active_children() == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [120, pytest.param(COUNT, marks=pytest.mark.slow)])
def test_a_source_that_ends_its_process_costs_itself(name, count):
    results = list(EXECUTORS[name]().map(crash_at_70, range(count), "crashed"))
    assert results == ["crashed" if n == 70 else str(n) for n in range(count)]


# ---------------------------------------------------------------- readers


def folder_catalogue(root: Path) -> Path:
    for n in range(4):
        put(root / ("hats" if n % 2 else "bags") / f"{n}.jpg", encoded(photo(n)))
    put(root / "bags" / "0.txt", "a bag\n")
    put(root / "4.jpg", encoded(photo(4)))
    return root


def table_catalogue(root: Path) -> Path:
    rows = [{"image": f"{n}.jpg", "caption": f"thing {n}", "class": "hats"} for n in range(4)]
    for n in range(4):
        put(root / f"{n}.jpg", encoded(photo(n)))
    rows.append({"image": "../4.jpg", "caption": "outside", "class": "hats"})
    put(root / "captions.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return root


def tables_catalogue(root: Path) -> Path:
    table_catalogue(root / "train")
    rows = (root / "train" / "captions.jsonl").read_text().splitlines(keepends=True)
    put(root / "train" / "captions.jsonl", "".join(rows[:2]))
    put(root / "test" / "captions.jsonl", "".join(rows[2:]))
    for n in (2, 3):
        put(root / "test" / f"{n}.jpg", encoded(photo(n)))
    return root


def tar_catalogue(root: Path) -> Path:
    root.mkdir(parents=True)
    entries = []
    for n in range(4):
        cells = json.dumps({"caption": f"thing {n}", "class": "hats"}).encode()
        entries += [(f"{n}.jpg", encoded(photo(n))), (f"{n}.json", cells)]
    tar_of(root / "a.tar", [*entries, ("4.jpg", encoded(photo(4)))])
    return root


# Each makes a catalogue of four samples and one row that is none; some are of the class hats.
CATALOGUES = {
    "folder": folder_catalogue,
    "table": table_catalogue,
    "tables": tables_catalogue,
    "webdataset": tar_catalogue,
}


@pytest.fixture(params=registry.names("readers"))
def reader(request, tmp_path) -> Reader:
    path = CATALOGUES[request.param](tmp_path / "shop")
    return registry.load("readers", request.param)(locate(path), Prepare())


class TestReader:
    def test_it_accepts_its_own_and_nothing_that_is_not_there(self, reader):
        assert type(reader).accepts(reader.location)
        assert not type(reader).accepts(reader.location.child("missing"))

    def test_it_is_chosen_for_its_own(self, reader, tmp_path):
        assert type(readers.choose(tmp_path / "shop", Prepare())) is type(reader)

    def test_every_row_is_a_sample_or_rejected_with_a_reason(self, reader):
        items = list(reader)
        samples = [item for item in items if isinstance(item, Sample)]
        rejected = [item for item in items if isinstance(item, Rejected)]
        assert (len(samples), len(rejected)) == (4, 1) and rejected[0].reason.text
        assert len({item.row for item in items}) == 5

    def test_samples_have_captions_and_images_that_decode(self, reader):
        for sample in reader:
            if isinstance(sample, Sample):
                assert sample.captions and all(sample.captions)
                assert isinstance(prepare_image(sample.image, 64, bounds()), PreparedImage)

    def test_it_reads_the_same_as_often_as_one_likes(self, reader):
        assert list(reader) == list(reader)

    def test_it_says_how_it_reads(self, reader):
        description = reader.describe()
        assert all(line.strip() for line in description) and 1 <= len(description) <= 12

    def test_its_extent_is_that_of_its_rows(self, reader):
        extent = reader.extent()
        assert extent.rows in (None, 5) and extent.bytes > 0
        assert reader.extent() == extent

    def test_rows_that_where_leaves_out_are_counted(self, reader):
        chosen = Prepare(where={"class": "hats"})
        filtered = type(reader)(reader.location, chosen)
        rows = list(filtered)
        assert rows and len(rows) + filtered.filtered == 5
        list(filtered)
        assert len(rows) + filtered.filtered == 5

    def test_it_writes_nothing(self, reader, tmp_path):
        before = contents(tmp_path)
        list(reader), reader.describe(), reader.extent()
        assert contents(tmp_path) == before


def test_every_reader_has_a_catalogue_here():
    assert set(registry.names("readers")) <= set(CATALOGUES)


def send_half(then: Callable[[], None], number: int) -> str:
    """Makes its process send half of a result and do something then."""

    def send(connection: Connection, data: memoryview) -> None:
        connection._send(struct.pack("!i", len(data)) + bytes(data)[: len(data) // 2])
        then()

    if number == 30:
        Connection._send_bytes = send
    return str(number)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("name", OURS)
def test_a_process_that_ends_while_it_sends_a_result_costs_its_source(name):
    results = list(EXECUTORS[name]().map(partial(send_half, die), range(120), "crashed"))
    assert results == ["crashed" if n == 30 else str(n) for n in range(120)]


def send_half_later(taken: Path, number: int) -> str:
    """As `send_half`, and its process pauses, once a file is there."""
    while number == 30 and not taken.exists():
        time.sleep(0.01)
    return send_half(signal.pause, number)


@pytest.mark.parametrize("name", OURS)
def test_closing_ends_processes_in_the_middle_of_a_result(name, tmp_path):
    taken = tmp_path / "taken"
    results = EXECUTORS[name]().map(partial(send_half_later, taken), range(120), "crashed")
    # A paused process keeps all others from sending, so the first result has to be here before.
    next(results)
    taken.touch()
    # Long enough to send the half.
    time.sleep(1)
    results.close()
    assert multiprocessing.active_children() == []
