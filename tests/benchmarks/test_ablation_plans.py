"""The plans of our tables: each can be read, and tests what it trains."""

from pathlib import Path

import pytest

from unidiff_cli.config.ablation_plan import read_plan
from unidiff_cli.experiments.ablation import refuse_unlike
from unidiff_cli.models.sources import load_recipe

FOLDER = Path(__file__).parents[2] / "benchmarks" / "ablation"
PLANS = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("file", PLANS, ids=lambda file: file.stem)
def test_the_recipes_of_a_plan_are_compared_at_equal_conditions(file):
    plan = read_plan(file)
    changes = ["base=nano", *plan.assignments]
    recipes = [load_recipe(name, assignments=changes) for name in plan.recipes]
    named = {recipe.name: recipe for recipe in recipes}
    assert len(named) == len(recipes)
    refuse_unlike(named, plan.seeds)
    if plan.tests:
        assert {name for pair in plan.tests.pairs for name in pair} <= {"base", *named}


def test_every_rival_is_a_recipe():
    arms = sorted((FOLDER / "arms").glob("*.yaml"))
    assert PLANS and arms
    for arm in arms:
        assert load_recipe(str(arm), assignments=["base=nano"]).name == arm.stem
