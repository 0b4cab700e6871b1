"""evaluate_folds on a tiny random base: every product is tested once, and nothing is done twice."""

import shutil

import pytest

from tests.support.exports import read_report
from tests.support.projects import copy_project, load_recipe
from unidiff_cli import export, train
from unidiff_cli.data.shards import Shards
from unidiff_cli.errors import Interrupted, WorkError
from unidiff_cli.evaluation.evaluate import compare
from unidiff_cli.evaluation.metrics.recall import Recall
from unidiff_cli.experiments import folds
from unidiff_cli.experiments.cross_validation import evaluate_folds
from unidiff_cli.project.receipt import Receipt

pytestmark = pytest.mark.usefixtures("scorer_folder")

RECALL = 'evaluate.metrics=["recall"]'
SMALL = ("train.steps=2", "train.batch_size=4", "train.checkpoint_every=1", "generate.steps=1")


@pytest.fixture(scope="module")
def recipe_of(tiny_base):
    """A function: assignments → a recipe with few steps and images."""

    def make(*assignments, name="fashion"):
        measured = ("evaluate.images=4", 'evaluate.metrics=["recall","kid"]')
        return load_recipe(tiny_base, *SMALL, *measured, *assignments, name=name)

    return make


@pytest.fixture
def project(prepared, tmp_path):
    return copy_project(prepared, tmp_path)


# ---------------------------------------------------------------- the report


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, prepared, recipe_of, scorer_folder):
    """A project after two folds, its receipt and its report."""
    project = copy_project(prepared, tmp_path_factory.mktemp("folds"))
    receipt = evaluate_folds(project, recipe_of(), 2)
    return project, receipt, read_report(project, "folds")


@pytest.mark.slow
def test_every_row_is_tested_once(evaluated):
    project, _, report = evaluated
    rows = Shards.open(project.path("shards")).rows()
    assert report["figures"]["tuned"]["r1_i2t"]["items"] == len(rows)
    tested = [
        row.id
        for inner in project.path("cache", "folds").iterdir()
        for row in Shards.open(inner / "shards").rows("test")
    ]
    assert sorted(tested) == sorted(row.id for row in rows)


def test_no_group_is_trained_on_and_tested(evaluated):
    project, _, _ = evaluated
    for inner in project.path("cache", "folds").iterdir():
        shards = Shards.open(inner / "shards")
        train_groups, val_groups, test_groups = (
            {row.group for row in shards.rows(split)} for split in ("train", "val", "test")
        )
        assert not train_groups & test_groups and not val_groups & test_groups
        assert shards.image_bytes(shards.rows("test")[0])


def test_counts_are_of_all_folds(evaluated):
    project, receipt, report = evaluated
    rows = Shards.open(project.path("shards")).rows()
    assert (
        receipt.counts
        == report["counts"]
        == {
            "rows": len(rows),
            "groups": len({row.group for row in rows}),
            "captions": report["figures"]["tuned"]["r1_t2i"]["items"],
            "generated": 8,
            "folds": 2,
        }
    )
    assert len(report["generation"]["prompts"]) == len(report["generation"]["seeds"]) == 8
    assert report["figures"]["tuned"]["kid"]["groups"] == 8


def test_the_verdict_says_what_it_was_taken_over(evaluated):
    project, _, report = evaluated
    rows = Shards.open(project.path("shards")).rows()
    images = f"Over {len(rows):,} held-out images of 30 products or groups, 8 generated"
    assert f"{images}; 2 training runs" in report["verdict"]
    assert set(report["losses"]) == {"tuned, fold 1", "tuned, fold 2"}


def test_models_of_several_folds_have_one_hash(evaluated):
    project, _, report = evaluated
    weights = report["models"]["tuned"]["weights"]
    exports = {
        Receipt.read(inner / "exports" / "001-fashion").hash
        for inner in project.path("cache", "folds").iterdir()
    }
    assert len(exports) == 2 and weights not in exports and len(weights) == 16


def test_folds_are_not_for_git(evaluated):
    project, _, _ = evaluated
    assert "/folds\n" in (project.root / ".gitignore").read_text()


def test_a_second_time_does_nothing(evaluated, recipe_of):
    project, receipt, _ = evaluated
    assert evaluate_folds(project, recipe_of(), 2).finished == receipt.finished


# ---------------------------------------------------------------- which runs


@pytest.fixture
def trainings(monkeypatch):
    """The seed, the name and the resumed run of each training."""
    calls = []

    def counted(inner, recipe, **options):
        name, receipt = train(inner, recipe, **options)
        calls.append((recipe.train.seed, name, options.get("resume")))
        return name, receipt

    monkeypatch.setattr(folds, "train", counted)
    return calls


def kill_training(monkeypatch):
    """Every training dies after its first step."""

    def stop(line):
        raise Interrupted(15, "Killed.")

    killed = lambda inner, recipe, **options: train(inner, recipe, on_step=stop, **options)  # noqa: E731
    monkeypatch.setattr(folds, "train", killed)


@pytest.mark.slow
def test_an_interrupted_training_is_resumed(project, recipe_of, monkeypatch, request):
    with monkeypatch.context() as patch:
        kill_training(patch)
        with pytest.raises(Interrupted):
            evaluate_folds(project, recipe_of(RECALL), 2)
    trainings = request.getfixturevalue("trainings")
    evaluate_folds(project, recipe_of(RECALL), 2)
    assert trainings == [(0, "001-fashion", "001-fashion"), (0, "001-fashion", None)]


@pytest.mark.slow
def test_the_recipe_that_is_asked_for_is_measured(project, recipe_of, trainings):
    first = evaluate_folds(project, recipe_of(RECALL), 2)
    other = evaluate_folds(project, recipe_of("train.seed=1", RECALL), 2)
    assert first.figures["base"] == other.figures["base"] and first.hash != other.hash
    again = evaluate_folds(project, recipe_of(RECALL), 2)
    assert again.hash == first.hash, "not that of the newest run"
    assert trainings[-1] == (0, "001-fashion", None)


def test_what_a_fold_does_not_allow_is_refused_before_training(project, recipe_of, monkeypatch):
    monkeypatch.setattr(folds, "train", lambda *a, **k: pytest.fail("trained"))

    def check(self, eval_set):
        if eval_set.fold == 1:
            raise WorkError("The second fold has no such thing.")

    monkeypatch.setattr(Recall, "check", check)
    with pytest.raises(WorkError, match="The second fold has no such thing"):
        evaluate_folds(project, recipe_of(), 2)


def test_more_folds_than_groups_are_refused(project, recipe_of):
    with pytest.raises(WorkError, match="cannot be tested in 10000 folds"):
        evaluate_folds(project, recipe_of(), 10000)


# ---------------------------------------------------------------- image encoders

DIFFDIS = "diffdis"


def test_folds_measure_every_image_encoder(project, recipe_of):
    """The recipe leaves CLIP as the base's: by CLIP alone it would have learned nothing."""
    figures = evaluate_folds(project, recipe_of(RECALL, name=DIFFDIS), 2).figures
    assert list(figures) == ["base", "tuned", DIFFDIS]
    assert figures["base"] == figures["tuned"] != figures[DIFFDIS]


def test_comparisons_measure_every_image_encoder(project, recipe_of):
    recipe = recipe_of(RECALL, name=DIFFDIS)
    name, _ = train(project, recipe)
    export(project, name)
    shutil.copytree(project.path("exports", name), project.path("exports", "002-twin"))
    figures = compare(project, recipe, [name, "002-twin"]).figures
    first, second = f"{name}, {DIFFDIS}", f"002-twin, {DIFFDIS}"
    assert list(figures) == ["base", name, first, "002-twin", second]
    assert figures["base"] == figures[name] != figures[first] == figures[second]
