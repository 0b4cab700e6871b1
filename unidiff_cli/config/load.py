"""A recipe from all its sources, checked whole: every problem at once, with file and line.

Later sources win: the base's own numbers < the recipe that a recipe extends < the recipe file < the
project's `unidiff.yaml` < the environment (`UNIDIFF_TRAIN__STEPS=500`) < `--set train.steps=500`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from unidiff_cli.config.migration import migrate
from unidiff_cli.config.schema import EXTENDS, SCHEMA_VERSION, Recipe, recipe_model
from unidiff_cli.config.shipped import locate_recipe, shipped_folder
from unidiff_cli.config.sources import (
    ConfigSource,
    assignment_source,
    environment_source,
    merge,
    read_yaml,
)
from unidiff_cli.errors import RecipeError, UsageError, nearest
from unidiff_cli.project.project import FILE

# What a recipe's `base` means on this machine, and the numbers of that base.
Defaults = Callable[[Any], tuple[Any, ConfigSource]]
# pydantic's names of the alternatives of a union.
ALTERNATIVES = ("str", "BaseFolders", "constrained-int")


def read_recipe(
    name: str | os.PathLike[str] | None = None,
    *,
    project_file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    assignments: Iterable[str] = (),
    defaults: Defaults | None = None,
    old_names: bool = False,
) -> Recipe:
    """The recipe in force, all sources merged and checked.

    `name` replaces the name in `unidiff.yaml`. `defaults(base)` gives the base with `auto` resolved
    and the base's own numbers, the lowest source. Names of an older unidiff are problems unless
    `old_names` takes them for today's. Raises RecipeError with every problem.
    """
    project = ConfigSource(FILE, {})
    if project_file and project_file.is_file():
        project = read_yaml(project_file, FILE)
    named = project.data.pop("recipe", None)
    path = locate_recipe(str(name or named or "fashion"), project_file and project_file.parent)
    recipe = _Sources(
        {"name": path.stem},
        [
            *_recipe_files(path),
            project,
            environment_source(environ or {}, Recipe.model_fields),
            assignment_source(assignments),
        ],
        old_names,
    )
    if defaults is None:
        return recipe.check()
    base = recipe.data.get("base", "auto")
    try:
        base, numbers = defaults(base)
    except (UsageError, TypeError, ValueError, RuntimeError, OSError) as problem:
        # A wrong key is the more likely cause, and is reported with its line.
        recipe.check()
        if isinstance(problem, UsageError):
            raise
        raise UsageError(f"The base {base!r} cannot be read: {problem}.") from problem
    recipe.put_below(numbers)
    recipe.data["base"] = base
    return recipe.check()


def _recipe_files(path: Path) -> list[ConfigSource]:
    """A recipe's file, after those that it extends.

    Raises RecipeError where one extends what is no recipe, or itself.
    """
    sources, read = list[ConfigSource](), set[Path]()
    while True:
        shipped = path.parent == shipped_folder()
        source = read_yaml(path, f"recipes/{path.name}" if shipped else str(path))
        sources.insert(0, source)
        read.add(path.resolve())
        place, named = source.place((EXTENDS,)), source.data.pop(EXTENDS, None)
        if named is None:
            return sources
        try:
            path = locate_recipe(str(named), path.parent)
        except UsageError as problem:
            raise RecipeError([f"{place}: {EXTENDS}: {problem.fact}"]) from problem
        if path.resolve() in read:
            raise RecipeError([f"{place}: {EXTENDS} {named}, which extends this recipe."])


class _Sources:
    """The sources of one recipe, their data merged, and what is known to be wrong with them."""

    def __init__(
        self, start: Mapping[str, Any], sources: Iterable[ConfigSource], old_names: bool
    ) -> None:
        self.data: dict[str, Any] = dict(start)
        self.old_names = old_names
        self.problems: list[str] = []
        self.sources: list[ConfigSource] = []
        for source in sources:
            self.sources.append(self._of_today(source))
            self.data = merge(self.data, self.sources[-1].data)

    def put_below(self, source: ConfigSource) -> None:
        """Adds a source that all others win over."""
        self.sources.insert(0, self._of_today(source))
        self.data = merge(self.sources[0].data, self.data)

    def _of_today(self, source: ConfigSource) -> ConfigSource:
        source, problems = migrate(source)
        self.problems += [] if self.old_names else problems
        return source

    def check(self) -> Recipe:
        """The checked recipe. Raises RecipeError with every problem."""
        kind, problems = recipe_model(), list(self.problems)
        recipe = None
        try:
            recipe = kind.model_validate(self.data)
        except ValidationError as errors:
            problems += [
                sentence(kind, error, self.sources)
                for error in errors.errors()
                if not _of_other_word(error)
            ]
        if recipe is None or problems:
            raise RecipeError(sorted(set(problems), key=by_line))
        return recipe


def by_line(problem: str) -> tuple[str, int, str]:
    """Where a problem belongs in a list: by file and line."""
    file, line = problem.split(": ")[0].rpartition(":")[::2]
    return (file, int(line), problem) if line.isdigit() else (problem, 0, "")


def _of_other_word(error: Any) -> bool:
    """Whether it says that a number is not the word which may stand in its place."""
    return error["type"] == "literal_error" and str(error["loc"][-1]).startswith("literal[")


def _is_alternative(key: str) -> bool:
    """Whether a part of an error's place is pydantic's name of an alternative of a union."""
    return key.endswith("]") or key in ALTERNATIVES


def sentence(
    kind: type[BaseModel], error: Any, sources: list[ConfigSource], whole: str = "a recipe"
) -> str:
    """One of pydantic's errors in words: `file:line: what is wrong`. `whole` is what is read."""
    unknown = error["type"] == "extra_forbidden"
    keys = tuple(map(str, error["loc"]))
    # Without pydantic's names of the alternatives of a union; an unknown key may look like one.
    known, asked = (keys[:-1], keys[-1:]) if unknown else (keys, ())
    keys = (*(k for k in known if not _is_alternative(k)), *asked)
    place, dotted = _place(keys, sources), ".".join(keys)
    if unknown:
        parent = keys[:-1]
        what = f"key in {'.'.join(parent) or whole}"
        if parent == ("objectives",):
            what = "objective"
        return f"{place}: no {what} named '{keys[-1]}'.{nearest(keys[-1], _fields(kind, parent))}"
    if error["type"] == "missing":
        return f"{place}: {dotted} is missing."
    if keys == ("schema_version",):
        version = error["input"]
        return f"{place}: schema_version is {version!r}; this unidiff reads {SCHEMA_VERSION}."
    message = error["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if error["type"] == "value_error":
        return f"{place}: {dotted}: {message}{'' if message.endswith(('.', '?')) else '.'}"
    return f"{place}: {dotted} is {error['input']!r}; {message}."


def _place(keys: tuple[str, ...], sources: list[ConfigSource]) -> str:
    """Where a key, or else the section it is in, was set last."""
    for place_of in (keys, keys[:-1]):
        for source in reversed(sources):
            if place_of and (place := source.place(place_of)):
                return place
    return "recipe"


def _fields(kind: type[BaseModel], keys: tuple[str, ...]) -> list[str]:
    """The keys known at a place of the recipe."""
    for key in keys:
        field = kind.model_fields.get(key)
        options = getattr(field.annotation, "__args__", (field.annotation,)) if field else ()
        inner = [t for t in options if isinstance(t, type) and issubclass(t, BaseModel)]
        if not inner:
            return []
        kind = inner[0]
    return list(kind.model_fields)
