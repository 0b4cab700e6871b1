"""The file of an ablation: what it says, and every problem with its line."""

from pathlib import Path

import pytest

from unidiff_cli.config.ablation_plan import read_plan
from unidiff_cli.config.load import read_recipe
from unidiff_cli.errors import Problems, UsageError

PLANS = Path(__file__).parents[2] / "benchmarks" / "ablation"
WHOLE = """\
description: what joint training is worth
recipes: [clip-only, arms/half.yaml]
seeds: [3, 4]
folds: 5
set: {train.steps: 85, evaluate.extractor: [nano_scorer]}
margin: 2
tests:
  pairs: [[half, clip-only]]
  figures: [map_t2i]
"""


@pytest.fixture
def written(tmp_path):
    """A function: text → the file of it."""

    def write(text):
        (tmp_path / "plan.yaml").write_text(text)
        return tmp_path / "plan.yaml"

    return write


def test_a_plan_is_read_whole(written, tmp_path):
    plan = read_plan(written(WHOLE))
    assert plan.recipes == ("clip-only", str(tmp_path / "arms" / "half.yaml"))
    assert (plan.seeds, plan.folds, plan.margin) == ((3, 4), 5, 2)
    assert plan.assignments == ["train.steps=85", 'evaluate.extractor=["nano_scorer"]']
    assert plan.tests.pairs == (("half", "clip-only"),) and plan.tests.figures == ("map_t2i",)


def test_a_short_plan_has_three_seeds_and_all_tests(written):
    plan = read_plan(written("recipes: [joint]"))
    assert (plan.seeds, plan.folds, plan.tests) == ((0, 1, 2), 0, None)


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("recipes: [joint]\nseedz: [1]", ["plan.yaml:2: no key in a plan named 'seedz'. Did you"]),
        ("recipes: []", ["plan.yaml:1: recipes"]),
        ("seeds: [0]", ["recipes is missing"]),
        ("recipes: [joint]\nfolds: -1", ["plan.yaml:2: folds is -1"]),
        ("recipes: [joint]\nseeds: [a]\nmargin: -1", ["plan.yaml:2: seeds", "plan.yaml:3: mar"]),
        ("recipes: [joint]\ntests: {pairs: [[a]]}", ["tests.pairs", "tests.figures is missing"]),
        ("- joint", ["plan.yaml:1: keys with values are asked for"]),
    ],
)
def test_every_problem_of_a_plan_has_its_line(written, text, problems):
    with pytest.raises(Problems) as raised:
        read_plan(written(text))
    for problem in problems:
        assert problem in str(raised.value)
    assert raised.value.action.startswith("The keys of a plan: description, recipes, seeds")


def test_a_plan_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match="plan.yaml cannot be read"):
        read_plan(tmp_path / "plan.yaml")


@pytest.mark.parametrize(
    "path",
    sorted([*PLANS.glob("*.yaml"), *PLANS.glob("choices/plan-*.yaml")]),
    ids=lambda p: p.stem,
)
def test_a_plan_of_ours_compares_recipes_that_there_are(path):
    plan = read_plan(path)
    names = [Path(recipe).stem for recipe in plan.recipes]
    assert len(set(names)) == len(names) > 1
    for recipe in plan.recipes:
        read_recipe(recipe, assignments=plan.assignments)
    for pair in plan.tests.pairs if plan.tests else ():
        assert set(pair) <= {*names, "base"}
