"""Kill −9 at every file that a stage opens, syncs, renames, makes or deletes.

After each kill the folder is the old one or the new one, whole; the next run gives the very bytes
of an undisturbed one, and leaves nothing beside them.
"""

import pytest

from tests.support.folders import leftovers, made
from tests.support.kills import in_a_child
from tests.support.projects import copy_project, load_recipe
from unidiff_cli import evaluate, export, index, prepare, train
from unidiff_cli.project.verify import verify

RUN = "001-fashion"
# Stage -> a call of it, and the folder that it writes.
STAGES = {
    "prepare": (lambda p, r, c: prepare(p, r, c, force=True), ("shards",)),
    "checkpoint": (lambda p, r, c: train(p, r, resume=True), ("runs", RUN)),
    "export": (lambda p, r, c: export(p, force=True), ("exports", RUN)),
    "index": (lambda p, r, c: index(p, force=True), ("index",)),
    "evaluate": (lambda p, r, c: evaluate(p, r, force=True), ("report",)),
}


@pytest.fixture(scope="module")
def small(tiny_base):
    return load_recipe(tiny_base, "evaluate.metrics=[recall]", "train.checkpoint_every=1")


@pytest.fixture(scope="module")
def measured(finished, small, tmp_path_factory):
    project = copy_project(finished, tmp_path_factory.mktemp("kills"))
    evaluate(project, small)
    return project


def begin(stage, project):
    """Takes the project to where the stage has its work before it."""
    if stage == "checkpoint":
        # The last step is to be done again, with its checkpoint and the run's receipt.
        from unidiff_cli.project import checkpoints

        run = project.path("runs", RUN)
        (run / "receipt.json").unlink()
        checkpoints.delete_folder(
            checkpoints.committed(run / "checkpoints")[-1], checkpoints.listing
        )


@pytest.mark.parametrize(
    ("stage", "every"),
    [("index", 9), *(pytest.param(name, 1, marks=pytest.mark.slow) for name in STAGES)],
)
def test_a_kill_anywhere_leaves_the_old_folder_or_the_new_one(
    measured, tmp_path, small, catalogue, stage, every
):
    stage_call, names = STAGES[stage]

    def fresh(number):
        project = copy_project(measured, tmp_path / str(number))
        begin(stage, project)
        return project, lambda: stage_call(project, small, catalogue)

    (tmp_path / "0").mkdir()
    project, call = fresh(0)
    events = in_a_child(call, project.root)
    expected = made(project, names)
    assert events > 10
    for at in range(1, events + 1, every):
        (tmp_path / str(at)).mkdir()
        project, call = fresh(at)
        if in_a_child(call, project.root, at) is not None:
            # A name with this process's number, or fewer events than before.
            continue
        damage = [sentence for result in verify(project) for sentence in result.damage]
        assert damage == [], f"{stage} killed at event {at}"
        assert in_a_child(call, project.root) is not None
        assert made(project, names) == expected, f"{stage} killed at event {at}"
        assert leftovers(project) == [], f"{stage} killed at event {at}"
