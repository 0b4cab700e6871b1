"""`unidiff status`."""

import json

from unidiff_cli.project.receipt import Receipt, close

OPTIONAL = ("comparison", "folds", "ablation")


def states(unidiff, project):
    """Folder -> state and contents, and the next command, as `--json` prints them."""
    document = json.loads(unidiff("-C", project.root, "status", "--json")[1])
    rows = {row["folder"]: (row["state"], row["contents"]) for row in document["folders"]}
    return rows, document["next"]


def close_optional(project):
    """Closes the folders that only some projects have, as their commands do."""
    shards = Receipt.read(project.path("shards"))
    for name in OPTIONAL:
        project.path(name).mkdir(exist_ok=True)
        receipt = Receipt(name, {}, {"shards": shards.hash}, counts={"rows": 60, "folds": 0})
        close(project.path(name), receipt, 0)


def test_it_names_the_next_command(unidiff, project):
    rows, then = states(unidiff, project)
    assert rows["shards"][0] == "ready" and then == "unidiff train"


def test_it_prints_each_folder_and_the_current_export(unidiff, exported):
    code, out, _ = unidiff("-C", exported.root, "status")
    assert code == 0 and "001-fashion" in out and "(current)" in out
    assert "Next: unidiff evaluate" in out


def test_folders_that_only_some_projects_have_are_shown_where_they_are(unidiff, project):
    assert not set(OPTIONAL) & states(unidiff, project)[0].keys()
    close_optional(project)
    rows, then = states(unidiff, project)
    assert list(rows)[-3:] == list(OPTIONAL)
    assert [rows[name] for name in OPTIONAL] == [("ready", "60 rows")] * 3
    assert then == "unidiff train", "no next command makes them"


def test_a_stopped_ablation_is_unfinished(unidiff, project):
    # This is what `ablate` leaves when it is stopped.
    project.path("cells").mkdir(parents=True)
    assert states(unidiff, project)[0]["ablation"][0] == "unfinished"


def test_they_are_stale_after_another_prepare(unidiff, project):
    close_optional(project)
    shards = Receipt.read(project.path("shards"))
    shards.seed += 1
    close(project.path("shards"), shards, 0)
    rows, _ = states(unidiff, project)
    assert [rows[name] for name in OPTIONAL] == [("stale", "shards changed since")] * 3
