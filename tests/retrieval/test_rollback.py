"""One step back: the index before the last one, with the export that made it."""

import logging
import shutil
import signal
import subprocess
import sys

import pytest

from tests.support.folders import finish
from tests.support.projects import copy_project, load_recipe
from tests.support.source import ROOT
from unidiff_cli import Project, index, prepare, retrieve
from unidiff_cli.errors import NotReady, WorkError
from unidiff_cli.project.files import swap_folders
from unidiff_cli.project.folders import PREVIOUS_INDEX
from unidiff_cli.project.receipt import Receipt
from unidiff_cli.project.status import folders, next_command
from unidiff_cli.project.verify import verify
from unidiff_cli.retrieval.provenance import read_index
from unidiff_cli.retrieval.rollback import roll_back


def add_export(project, name="002-other"):
    """A second export, which is the current one then."""
    shutil.copytree(project.path("exports", "001-fashion"), project.path("exports", name))
    project.make_current(name)


@pytest.fixture
def project(finished, tmp_path):
    """A project with an index of each of two exports."""
    project = copy_project(finished, tmp_path)
    add_export(project)
    index(project)
    return project


def export_of(project, folder):
    return Receipt.read(project.path(folder)).settings["export"]


def states(project):
    return {row.folder: row for row in folders(project)}


def test_a_new_index_leaves_the_one_before_it(project):
    assert export_of(project, "index") == "002-other"
    assert export_of(project, PREVIOUS_INDEX) == "001-fashion"
    state = states(project)[PREVIOUS_INDEX]
    assert state.state == "ready" and "60 images" in state.contents
    assert "001-fashion" in state.contents
    assert not [folder for folder in verify(project) if folder.damage]


@pytest.mark.parametrize("force", [False, True])
def test_the_same_work_again_leaves_the_one_before_it(project, force):
    before = Receipt.read(project.path(PREVIOUS_INDEX))
    index(project, force=force)
    assert Receipt.read(project.path(PREVIOUS_INDEX)) == before


def test_the_index_before_answers_with_its_export_and_a_note(project, caplog):
    hits = retrieve(project, "red dress", k=3)
    assert roll_back(project).settings["export"] == "001-fashion"
    assert export_of(project, "index") == "001-fashion"
    with caplog.at_level(logging.INFO, logger="unidiff"):
        assert retrieve(project, "red dress", k=3) == hits
    assert "The index was rolled back, so that export 001-fashion answers." in caplog.text
    assert states(project)["index"].state == "ready"
    assert "rolled back" in states(project)["index"].contents
    assert next_command(folders(project)) != "unidiff index"
    with pytest.raises(NotReady, match="built with 001-fashion, not with 002-other"):
        retrieve(project, "red dress", export="002-other")


def test_a_second_time_undoes_it(project):
    first = Receipt.read(project.path("index"))
    roll_back(project)
    assert roll_back(project) == first == Receipt.read(project.path("index"))


def test_a_new_export_after_a_rollback_needs_an_index(project):
    roll_back(project)
    add_export(project, "003-new")
    assert states(project)["index"].state == "stale"
    with pytest.raises(NotReady, match="not with 003-new"):
        retrieve(project, "red dress")
    # Of neither index's export, so all is embedded.
    assert index(project).counts["embedded"] == 60
    assert export_of(project, PREVIOUS_INDEX) == "001-fashion"


def test_indexing_after_a_rollback_embeds_nothing_again(project):
    roll_back(project)
    assert index(project).counts["embedded"] == 0
    assert export_of(project, "index") == "002-other"


def test_an_index_of_other_shards_does_not_come_back(project, catalogue, tiny_base, tmp_path):
    copy = shutil.copytree(catalogue, tmp_path / "shop")
    min((copy / "images").iterdir()).unlink()
    prepare(project, load_recipe(tiny_base, "prepare.max_bad=1"), copy)
    index(project)
    before = export_of(project, "index")
    with pytest.raises(NotReady, match="cannot come back: shards changed since") as caught:
        roll_back(project)
    assert "Run: unidiff index" in caught.value.action
    assert export_of(project, "index") == before and retrieve(project, "red dress")
    assert states(project)["index"].state == "ready"
    assert states(project)[PREVIOUS_INDEX].state == "stale"


def test_an_index_of_an_export_that_is_gone_does_not_come_back(project):
    shutil.rmtree(project.path("exports", "001-fashion"))
    with pytest.raises(NotReady, match="exports/001-fashion changed since it was built"):
        roll_back(project)


def test_without_an_index_before_it_is_refused(finished):
    with pytest.raises(NotReady, match="holds no index from before"):
        roll_back(finished)


def test_what_is_not_ours_is_neither_swapped_nor_replaced(project):
    photo = project.path(PREVIOUS_INDEX) / "photo.jpg"
    photo.write_bytes(b"mine")
    for work in (lambda: roll_back(project), lambda: index(project, kind="ivf")):
        with pytest.raises(WorkError, match=r"photo\.jpg, which unidiff did not write"):
            work()
    assert photo.read_bytes() == b"mine" and export_of(project, "index") == "002-other"


def test_the_index_of_a_linked_folder_is_not_kept(finished, tmp_path):
    project = copy_project(finished, tmp_path)
    project.path("index").rename(tmp_path / "elsewhere")
    project.path("index").symlink_to(tmp_path / "elsewhere")
    index(project, kind="ivf")
    assert project.path("index").is_symlink() and not project.path(PREVIOUS_INDEX).exists()


# ---------------------------------------------------------------- the swap


def test_folders_change_places_where_the_system_has_no_step_for_it(tmp_path, monkeypatch):
    monkeypatch.setattr("unidiff_cli.project.files._exchange", lambda first, second: False)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    swap_folders(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a" / "b").exists() and (tmp_path / "b" / "a").exists()


@pytest.mark.parametrize("at_once", [True, False])
def test_an_index_takes_its_place_with_and_without_that_step(project, at_once, monkeypatch):
    if not at_once:
        monkeypatch.setattr("unidiff_cli.project.files._exchange", lambda first, second: False)
    index(project, kind="ivf")
    kinds = [Receipt.read(project.path(f)).settings["kind"] for f in ("index", PREVIOUS_INDEX)]
    assert kinds == ["ivf", "flat"] and export_of(project, PREVIOUS_INDEX) == "002-other"
    assert not [p for p in project.root.iterdir() if p.name.endswith((".new", ".old"))]


WATCH = """
import sys
from pathlib import Path
folder, stop = Path(sys.argv[1]), Path(sys.argv[2])
print("ready", flush=True)
while not stop.exists():
    (folder / "receipt.json").read_bytes()
"""


def test_a_reader_never_misses_the_index(project, tmp_path):
    stop = tmp_path / "stop"
    command = [sys.executable, "-c", WATCH, str(project.path("index")), str(stop)]
    reader = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert reader.stdout.readline() == "ready\n"
    for _ in range(50):
        swap_folders(project.path("index"), project.path(PREVIOUS_INDEX))
    index(project, force=True)
    index(project, kind="ivf")
    stop.touch()
    assert reader.communicate(timeout=60)[1] == ""


def test_what_is_read_is_all_of_one_index(project):
    seen = []

    def read(folder, receipt):
        seen.append(folder.name)
        if len(seen) == 1:
            # Another command takes the place between two files.
            roll_back(project)
        return export_of(project, "index")

    assert read_index(project, None, read) == "001-fashion"
    assert seen == ["002-other", "001-fashion"]


KILLED = """
import sys
from tests.support.kills import kill_at_rename
from unidiff_cli import Project
from unidiff_cli.project.receipt import Receipt
kill_at_rename(int(sys.argv[2]))
project = Project(sys.argv[1])
with project.lock():
    receipt = Receipt("index", {"text": "new"})
    with project.writing("index", receipt=receipt, previous="previous-index", at_once=True) as new:
        (new / "file.txt").write_text("new")
"""


@pytest.mark.parametrize("at", [1, 2])
def test_a_kill_after_the_swap_leaves_the_new_folder_and_nothing_beside(tmp_path, at):
    project = Project(tmp_path / "shop")
    with project.lock():
        finish(project, "index", text="old")
    command = [sys.executable, "-c", KILLED, str(project.root), str(at)]
    assert subprocess.run(command, cwd=ROOT, timeout=60).returncode == -signal.SIGKILL
    assert project.receipt("index").settings == {"text": "new"}
    with project.lock():
        finish(project, "index", text="next")
    assert project.receipt("index").settings == {"text": "next"}
    assert not [p for p in project.root.iterdir() if p.name.startswith(".index")]


def test_what_is_put_into_the_old_index_meanwhile_stays(project):
    receipt = Receipt("index", {"text": "new"})
    with project.writing("index", receipt=receipt, previous=PREVIOUS_INDEX, at_once=True) as fresh:
        (fresh / "file.txt").write_text("new")
        (project.path("index") / "photo.jpg").write_bytes(b"mine")
    assert (project.path(PREVIOUS_INDEX) / "photo.jpg").read_bytes() == b"mine"
    with pytest.raises(WorkError, match=r"photo\.jpg, which unidiff did not write"):
        index(project, kind="ivf")
