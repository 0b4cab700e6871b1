"""A project's storage: whole or not there, whatever ends an upload or a download in the middle."""

import shutil
from contextlib import contextmanager

import pytest

from tests.support.folders import finish
from tests.support.object_store import ObjectStore, counted, objects, stored_at
from unidiff_cli import Project
from unidiff_cli.errors import Damaged, EnvironmentProblem, UsageError, WorkError
from unidiff_cli.project import storage
from unidiff_cli.project.receipt import Receipt
from unidiff_cli.project.status import folders
from unidiff_cli.project.storage import CONTENTS, Contents, Storage, checked, write_address


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(storage, "PAUSE", 0.0)
    yield
    ObjectStore.failures.clear()


@pytest.fixture
def bucket(tmp_path):
    return tmp_path / "bucket"


@pytest.fixture
def first(tmp_path, bucket):
    return stored_at(Project(tmp_path / "first"), bucket)


@pytest.fixture
def second(tmp_path, bucket):
    return stored_at(Project(tmp_path / "second"), bucket)


class Killed(BaseException):
    """What ends a process at once."""


@contextmanager
def killed_after(number):
    """Ends what is done meanwhile after so many requests; gives whether it did."""
    request, made, ended = ObjectStore._request, [], []

    def counting(self, kind, path):
        if len(made) == number:
            raise Killed
        made.append(path)
        return request(self, kind, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ObjectStore, "_request", counting)
        try:
            yield ended
        except Killed:
            ended.append(True)


def several(project, text="old", **settings):
    """A finished index of three files."""
    receipt = Receipt("index", {"text": text, **settings})
    with project.writing("index", receipt=receipt) as fresh:
        for name in ("a.bin", "clip/b.bin", "clip/c"):
            (fresh / name).parent.mkdir(exist_ok=True)
            (fresh / name).write_text(f"{name} {text}" * 50)
    return receipt


def read(project):
    """What another machine reads of the index."""
    project.receipt("index", hashed=None)
    return (project.path("index", "clip", "b.bin")).read_text()[:12]


def test_a_finished_folder_is_there_and_found_elsewhere(first, second, bucket):
    receipt = several(first)
    assert Contents.parse((bucket / "index" / CONTENTS).read_bytes()).finished == receipt.finished
    assert second.receipt("index", hashed=None).hash == receipt.hash
    files = {str(p.relative_to(second.path("index"))) for p in second.path("index").rglob("*.*")}
    assert files == {"a.bin", "clip/b.bin", "receipt.json"}
    assert second.path("index", "clip", "c").read_text() == "clip/c old" * 50


def test_without_a_storage_nothing_is_asked(tmp_path):
    with counted() as asked:
        finish(Project(tmp_path), "index")
    assert not asked


@pytest.mark.parametrize("again", [False, True])
def test_an_upload_that_was_killed_leaves_nothing_that_passes_as_whole(
    first, second, bucket, again
):
    """Before each of its requests in turn; the next one sends only what is missing."""
    if again:
        several(first, "older")
    for number in range(20):
        with killed_after(number) as killed:
            several(first, "newer")
        shutil.rmtree(second.path("index"), ignore_errors=True)
        if not killed:
            break
        if again:
            assert read(second) == "clip/b.bin o"
        else:
            assert second.known("index") is None
        there = objects(bucket)
        with counted() as asked:
            first.keep("index")
        sent = [name for kind, name in asked if kind == "put"]
        assert not {name for name in sent if name != CONTENTS} & {n.split("/")[-1] for n in there}
        shutil.rmtree(second.path("index"), ignore_errors=True)
        assert read(second) == "clip/b.bin n"
        # As it was before, for the next number.
        shutil.rmtree(bucket)
        shutil.rmtree(first.path("index"))
        if again:
            several(first, "older")
    assert not killed and number == 1 + 3 * 4 + 1


def test_a_download_that_was_killed_goes_on(first, second):
    several(first)
    for number in range(12):
        with killed_after(number) as killed:
            second.bring("index")
        if not killed:
            break
        assert Receipt.read(second.path("index")) is None
    # Each asks what is there, and fetches what those before it did not.
    assert number == 4 and read(second) == "clip/b.bin o"


def test_what_is_there_is_not_sent_twice(first, bucket):
    several(first)
    with counted() as asked:
        first.keep("index")
    assert asked == [("get", CONTENTS)]
    several(first, "newer")
    assert len(objects(bucket)) == 1 + 2 * 4


def test_two_versions_of_a_folder_share_what_is_equal(first, bucket):
    for text in ("old", "new"):
        with counted() as asked, first.writing("index", receipt=Receipt("index", {})) as fresh:
            (fresh / "same.bin").write_text("same")
            (fresh / "other.bin").write_text(text)
    sent = [name.rpartition("-")[0] or name for kind, name in asked if kind == "put"]
    assert sent == ["other", "receipt", CONTENTS]


def test_a_folder_that_was_finished_later_is_not_replaced(first, second, bucket):
    several(second, "late")
    contents = Contents.parse((bucket / "index" / CONTENTS).read_bytes())
    later = Contents(contents.files, "2999-01-01T00:00:00+00:00")
    (bucket / "index" / CONTENTS).write_bytes(later.json())
    with pytest.raises(WorkError, match="was finished later than"):
        several(first, "early")
    assert (bucket / "index" / CONTENTS).read_bytes() == later.json()
    # It is whole here nonetheless.
    assert first.path("index", "receipt.json").is_file()


def test_what_is_not_ours_is_never_replaced(first, bucket):
    (bucket / "index").mkdir(parents=True)
    for text in ("their notes", "{}", '{"files": {}, "finished": "", "digest": "0"}'):
        (bucket / "index" / CONTENTS).write_text(text)
        with pytest.raises(Damaged, match="is not what unidiff writes"):
            several(first)
        assert (bucket / "index" / CONTENTS).read_text() == text


def test_a_folder_here_is_not_mixed_with_another_version(first, second):
    several(second, "older")
    several(first, "newer")
    with pytest.raises(WorkError, match="is another than the one that is stored"):
        second.fetch("index")
    assert read(second) == "clip/b.bin o"
    shutil.rmtree(second.path("index"))
    second.fetch("index")
    assert read(second) == "clip/b.bin n"


def test_files_of_somebody_here_are_not_mixed_with_ours(first, second):
    several(first)
    second.path("index").mkdir()
    second.path("index", "notes.txt").write_text("mine")
    with pytest.raises(WorkError, match=r"holds notes.txt"):
        second.receipt("index")
    assert [file.name for file in second.path("index").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "a/../../b", "a//b"])
def test_a_path_that_leads_out_of_the_folder_is_refused(first, second, bucket, name):
    several(first)
    contents = Contents.parse((bucket / "index" / CONTENTS).read_bytes())
    record = next(iter(contents.files.values()))
    evil = Contents({**contents.files, name: record}, contents.finished)
    (bucket / "index" / CONTENTS).write_bytes(evil.json())
    with pytest.raises(Damaged, match="is not what unidiff writes"):
        second.receipt("index")
    assert not second.path("index").exists()


def test_damage_there_is_named_and_nothing_is_taken(first, second, bucket):
    several(first)
    [file] = bucket.glob("index/clip/b-*.bin")
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + b"?")
    with pytest.raises(Damaged, match=f"{file.name} is not what was stored"):
        second.receipt("index")
    file.unlink()
    with pytest.raises(Damaged, match=f"{file.name} is missing"):
        second.receipt("index")
    assert Receipt.read(second.path("index")) is None
    # As the message says.
    storage_keep_again(first)
    assert read(second) == "clip/b.bin o" and file.read_bytes() == whole


def storage_keep_again(project):
    from unidiff_cli.project import stored

    stored.keep(project.storage, project.root, ("index",), again=True)


def test_requests_that_fail_now_and_then_cost_nothing(first, second):
    ObjectStore.failures += [TimeoutError("slow"), ConnectionError("reset")]
    several(first)
    ObjectStore.failures += [TimeoutError("slow"), ConnectionError("reset")]
    assert read(second) == "clip/b.bin o"


def test_a_place_that_cannot_be_reached_is_named_and_the_work_is_here(first, second, bucket):
    ObjectStore.failures += [ConnectionError("no route to host")] * storage.ATTEMPTS
    with pytest.raises(EnvironmentProblem, match="no route to host") as error:
        several(first)
    assert str(bucket) in error.value.fact and first.receipt("index")
    # The same command does no work again and stores it.
    settings = first.receipt("index").settings
    assert first.finished("index", settings=settings, inputs={})
    assert read(second) == "clip/b.bin o"


def test_status_says_what_lies_there(first, second):
    several(first)
    [row] = [row for row in folders(second) if row.folder == "index"]
    assert row.state == "stored" and row.contents.startswith("objects://")


def test_runs_and_exports_of_both_places_are_known(first, second):
    finish(first, "exports", "001-fashion")
    first.make_current("001-fashion")
    finish(first, "exports", "onnx", "001-fashion")
    second.folder("exports")
    finish(second, "exports", "002-fashion")
    assert first.exports() == second.exports() == ["001-fashion", "002-fashion"]
    assert second.current_export() == "001-fashion"
    assert (second.export() / "file.txt").read_text() == "old"
    with counted() as asked:
        assert second.current_export() == "001-fashion"
    assert not asked


# ---------------------------------------------------------------- the address


def test_an_address_with_credentials_is_not_written_down():
    with pytest.raises(UsageError, match="holds credentials") as error:
        checked("s3://key:s3cr3t@host/bucket")
    assert "s3cr3t" not in str(error.value)


@pytest.mark.parametrize("address", ["https://host/bucket", "", "zip::s3://bucket/a.zip"])
def test_an_address_that_cannot_be_a_storage_is_refused(address):
    with pytest.raises(UsageError):
        Storage(checked(address))


@pytest.mark.parametrize("text", ["", "[]", '{"address": 3}', "{"])
def test_a_broken_file_is_named(tmp_path, text):
    (tmp_path / "storage.json").write_text(text)
    with pytest.raises(UsageError, match="names no storage"):
        Project(tmp_path).receipt("index")


def test_a_mounted_folder_is_a_storage_too(tmp_path):
    first, second = (Project(tmp_path / name) for name in ("first", "second"))
    for project in (first, second):
        project.root.mkdir()
        write_address(project.root, checked(str(tmp_path / "mounted")))
    several(first)
    assert read(second) == "clip/b.bin o"
