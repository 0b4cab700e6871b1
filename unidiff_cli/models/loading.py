"""A base by what a recipe names it: the family that reads it, and the model."""

from __future__ import annotations

import gc
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from unidiff_cli import registry
from unidiff_cli.models.sources import resolve_base

if TYPE_CHECKING:
    from unidiff_cli.config.schema import Recipe
    from unidiff_cli.models.base import BaseModel


def load_base(base: Any, image_size: int) -> BaseModel:
    """The base of a recipe, on the CPU in fp32.

    Raises UsageError for a base that does not exist or does not fit together, and
    EnvironmentProblem for weights that are not on this machine.
    """
    _, source = resolve_base(base)
    return _family(source.family()).load(source, image_size)


def load_recipe_base(recipe: Recipe) -> BaseModel:
    """The base of a recipe, which sees images as the recipe says. Raises as `load_base`."""
    base = load_base(recipe.base, recipe.image_size)
    if recipe.train.fit != "base":
        base.fit_images(recipe.train.fit)
    base.use_buckets(recipe.train.buckets)
    return base


@cache
def _family(name: str) -> type[BaseModel]:
    family = cast("type[BaseModel]", registry.load("models", name))
    # An error caught by a package that this imports keeps the frames of our callers, and a base
    # that one of them holds would stay in memory until Python looks for cycles.
    gc.collect()
    return family
