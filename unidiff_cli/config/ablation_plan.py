"""A plan of an ablation: the file that says what is trained, measured and tested, before it is.

description: what joint training is worth
recipes: [clip-only, half.yaml, fashion]   # names, or files beside this one; first the baseline
seeds: [0, 1, 2]
folds: 5
set: {train.steps: 85}                     # for all recipes
margin: 2
tests:
  pairs: [[fashion, clip-only]]
  figures: [map_t2i, kid]
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from unidiff_cli.config.load import by_line, sentence
from unidiff_cli.config.sources import read_yaml
from unidiff_cli.config.values import Count, Section, Seed
from unidiff_cli.errors import Problems, RecipeError

SUFFIXES = (".yaml", ".yml")


class PlannedTests(Section):
    """The tests of an ablation, named before it is run: all others are no part of the correction.

    A pair is a recipe and the one that it is tested against; `base` is the model before training.
    """

    pairs: tuple[tuple[str, str], ...] = Field(min_length=1)
    figures: tuple[str, ...] = Field(min_length=1)


class AblationPlan(Section):
    """What `ablate` trains and measures. Recipes are names or paths."""

    description: str = ""
    recipes: tuple[str, ...] = Field(min_length=1)
    seeds: tuple[Seed, ...] = Field((0, 1, 2), min_length=1)
    folds: Count = 0
    set: dict[str, Any] = {}
    margin: Annotated[float, Field(ge=0)] | None = None
    tests: PlannedTests | None = None
    joined: tuple[tuple[str, ...], ...] = ()

    @property
    def assignments(self) -> list[str]:
        """`set` as `--set` takes it."""
        return [f"{key}={json.dumps(value)}" for key, value in self.set.items()]


def read_plan(path: Path) -> AblationPlan:
    """The plan in a file, its recipe files by their place beside it.

    Raises Problems with all of them, and UsageError where there is no such file.
    """
    keys = f"The keys of a plan: {', '.join(AblationPlan.model_fields)}."
    try:
        source = read_yaml(path)
        plan = AblationPlan.model_validate(source.data)
    except RecipeError as error:
        raise Problems(error.problems, keys) from error
    except ValidationError as errors:
        problems = {sentence(AblationPlan, error, [source], "a plan") for error in errors.errors()}
        raise Problems(sorted(problems, key=by_line), keys) from errors
    return plan.model_copy(update={"recipes": tuple(_beside(path, r) for r in plan.recipes)})


def _beside(path: Path, recipe: str) -> str:
    is_file = recipe.endswith(SUFFIXES) or os.sep in recipe
    return str(path.parent.absolute() / recipe) if is_file else recipe
