"""Status: the state of every folder, and the next command."""

import pytest

from tests.support.folders import finish
from unidiff_cli import Project
from unidiff_cli.project import checkpoints
from unidiff_cli.project.status import FolderState, folders, next_command


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path / "project")


def states(project):
    return {row.folder: row.state for row in folders(project)}


def after(project):
    return next_command(folders(project))


def contents(project, folder):
    return next(row.contents for row in folders(project) if row.folder == folder)


@pytest.fixture
def trained(project):
    """Shards, one run and its export, which is the current one."""
    shards = finish(project, "shards", counts={"train": 10})
    run = finish(project, "runs", "001-a", inputs={"shards": shards.hash})
    export = finish(project, "exports", "001-a", inputs={"runs/001-a": run.hash})
    project.make_current("001-a")
    return {"shards": shards.hash, "exports/001-a": export.hash}


@pytest.fixture
def whole(project, trained):
    """The same with an index and a report."""
    for folder in ("index", "report"):
        finish(project, folder, settings={"export": "001-a"}, inputs=trained)
    return project


def test_an_empty_project_begins_with_prepare(project):
    expected = ("shards", "runs", "exports", "index", "report")
    assert states(project) == dict.fromkeys(expected, "missing")
    assert after(project) == "unidiff prepare CATALOG"


def test_the_next_command_follows_the_work(project, trained):
    assert after(project) == "unidiff index"
    finish(project, "index", settings={"export": "001-a"}, inputs=trained)
    assert after(project) == "unidiff evaluate"
    finish(project, "report", settings={"export": "001-a"}, inputs=trained)
    assert set(states(project).values()) == {"ready"}
    assert after(project).startswith("unidiff generate")


def test_shards_alone_ask_for_training(project):
    finish(project, "shards", counts={"train": 10})
    assert after(project) == "unidiff train"
    assert folders(project)[0] == FolderState("shards", "ready", "10 train")


def test_an_unfinished_run_is_to_be_resumed(project):
    finish(project, "shards")
    checkpoints.save(project.path("runs", "001-a", "checkpoints"), "step-000500", {}, {})
    assert states(project)["runs/001-a"] == "unfinished"
    assert contents(project, "runs/001-a") == "last checkpoint step-000500"
    assert after(project) == "unidiff train --resume"


def test_a_run_without_an_export_is_to_be_exported(project, trained):
    finish(project, "runs", "002-b", inputs={"shards": trained["shards"]})
    assert after(project) == "unidiff export"


def test_what_was_made_of_another_export_is_stale(project, whole, trained):
    run = finish(project, "runs", "002-b", inputs={"shards": trained["shards"]})
    finish(project, "exports", "002-b", inputs={"runs/002-b": run.hash})
    project.make_current("002-b")
    assert states(project)["index"] == states(project)["report"] == "stale"
    assert contents(project, "index") == "of 001-a, and 002-b is the current export"
    assert contents(project, "exports/002-b").endswith("(current)")
    assert after(project) == "unidiff index"


def test_what_was_made_of_other_shards_is_stale(project, whole):
    finish(project, "shards", text="other")
    assert states(project)["runs/001-a"] == states(project)["index"] == "stale"
    assert contents(project, "index") == "shards changed since"
    assert after(project) == "unidiff train"


@pytest.mark.parametrize("folder", ["comparison", "folds", "ablation"])
def test_what_only_some_projects_have_is_listed_where_it_is(whole, folder):
    assert folder not in states(whole)
    finish(whole, folder)
    assert list(states(whole))[-1] == folder and states(whole)[folder] == "ready"
    assert after(whole).startswith("unidiff generate")


@pytest.mark.parametrize("folder", ["outputs", "cache"])
def test_what_no_receipt_closes_is_not_listed(project, folder):
    project.path(folder).mkdir(parents=True)
    assert folder not in states(project)
