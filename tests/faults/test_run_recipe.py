"""A run's recipe is written once and bound to the run; a refused command changes no file."""

import pytest

from tests.support.cli import on_tiny_base
from tests.support.commands import unidiff, workplace  # noqa: F401
from tests.support.projects import copy_project, load_recipe
from tests.support.runs import Cut, cut_at
from unidiff_cli import export, train
from unidiff_cli.errors import Damaged, NotReady
from unidiff_cli.training.provenance import Provenance


@pytest.fixture(scope="module")
def cut_run(tmp_path_factory, prepared, tiny_base):
    """A project whose only run was cut after its first checkpoint. Copy it."""
    project = copy_project(prepared, tmp_path_factory.mktemp("cut"))
    with pytest.raises(Cut):
        train(project, load_recipe(tiny_base), on_step=cut_at(4))
    return project


@pytest.fixture
def project(cut_run, tmp_path):
    return copy_project(cut_run, tmp_path)


def test_a_resume_leaves_the_files_that_it_began_with(project):
    run = project.path("runs", "001-fashion")
    files = {name: (run / name).stat() for name in ("recipe.yaml", "began.json")}
    train(project, load_recipe(Provenance.read(run).recipe_of(run).base), resume=True)
    for name, before in files.items():
        after = (run / name).stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text[:700],
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: text.replace("seed: 0", "seed: 1"),
        lambda text: text + "# a comment\n",
        lambda text: "[",
        lambda text: "null",
        lambda text: "\udcff",
        lambda text: text.replace("steps:", "stepz:"),
    ],
    ids=["700 bytes", "half", "empty", "value", "comment", "no YAML", "null", "bytes", "key"],
)
def test_a_recipe_that_is_another_is_refused_by_name(project, edit):
    run = project.path("runs", "001-fashion")
    file = run / "recipe.yaml"
    text = edit(file.read_text(encoding="utf-8"))
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    log = (run / "log.jsonl").read_bytes()
    with pytest.raises(Damaged, match="recipe.yaml of run 001-fashion"):
        train(project, load_recipe("nano"), resume=True)
    assert (run / "log.jsonl").read_bytes() == log


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"shards": 3}', "{", "\x00", "[" * 9999])
def test_a_damaged_provenance_is_refused_by_name(project, text):
    project.path("runs", "001-fashion", "began.json").write_text(text)
    with pytest.raises(Damaged, match="began.json of run 001-fashion"):
        train(project, load_recipe("nano"), resume=True)


def test_a_lost_recipe_is_damage_and_a_lost_provenance_is_no_run(project):
    run = project.path("runs", "001-fashion")
    (run / "recipe.yaml").rename(run / "other.yaml")
    with pytest.raises(Damaged, match="recipe.yaml of run 001-fashion"):
        train(project, load_recipe("nano"), resume=True)
    (run / "began.json").unlink()
    with pytest.raises(NotReady, match="never began"):
        train(project, load_recipe("nano"), resume=True)


def test_an_export_of_a_damaged_recipe_is_refused(finished, tmp_path):
    project = copy_project(finished, tmp_path)
    file = project.path("runs", "001-fashion", "recipe.yaml")
    file.write_text(file.read_text()[:300] + "\n  [")
    with pytest.raises(Damaged, match="001-fashion"):
        export(project, force=True)


def test_the_command_says_so(unidiff, project, tiny_base):  # noqa: F811
    on_tiny_base(project, tiny_base)
    file = project.path("runs", "001-fashion", "recipe.yaml")
    for text in (file.read_text()[:700], "{"):
        file.write_text(text)
        code, out, err = unidiff("-C", project.root, "train", "--resume")
        assert (code, out) == (1, "") and "recipe.yaml of run 001-fashion" in err


# ---------------------------------------------------------------- the line in unidiff.yaml


@pytest.mark.parametrize(
    "line",
    [
        "train --recipe joint",
        "train --recipe joint --set train.batch_size=1",
        "train --recipe sd-only --set base=nowhere",
        "prepare empty --recipe joint",
        "prepare missing --recipe joint",
        "prepare foreign.png --recipe joint",
    ],
)
def test_a_refused_command_keeps_the_project_file(unidiff, workplace, line):  # noqa: F811
    file = workplace / "project" / "unidiff.yaml"
    before = file.read_bytes(), file.stat().st_mtime_ns
    code, _, err = unidiff("-C", "project", *line.split())
    assert code in (1, 2), err
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before


def test_a_train_that_is_refused_late_keeps_the_project_file(
    unidiff,  # noqa: F811
    project,
    tiny_base,
):
    on_tiny_base(project, tiny_base)
    before = project.file.read_bytes()
    options = ("--set", "train.processes=3", "--set", "train.batch_size=8")
    code, _, err = unidiff("-C", project.root, "train", "--recipe", "joint", *options)
    assert code == 2 and "does not divide" in err and project.file.read_bytes() == before


def test_a_train_that_began_writes_the_name(unidiff, project, tiny_base):  # noqa: F811
    on_tiny_base(project, tiny_base)
    arguments = ("--recipe", "sd-only", "--set", "train.steps=1")
    code, _, err = unidiff("-C", project.root, "train", *arguments)
    assert code == 0, err
    assert "recipe: sd-only" in project.file.read_text()
