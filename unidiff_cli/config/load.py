"""A recipe from all its sources, checked whole: every problem at once, with file and line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import (
    BaseModel,
    ValidationError,
)

from unidiff_cli.config.schema import SCHEMA_VERSION, Recipe, recipe_model
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

Defaults = Callable[[Any], tuple[Any, Mapping[str, Any]]]


def read_recipe(
    name: str | os.PathLike[str] | None = None,
    *,
    project_file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    assignments: Iterable[str] = (),
    defaults: Defaults | None = None,
) -> Recipe:
    """The recipe in force, all layers merged and checked.

    `name` replaces the name that `unidiff.yaml` gives. `defaults(base)` returns the base that is meant
    (auto resolved) and its own numbers, the lowest layer. Raises RecipeError with every problem.
    """
    mine = ConfigSource(FILE, {})
    if project_file and project_file.is_file():
        mine = read_yaml(project_file, FILE)
    chosen = str(name or mine.data.pop("recipe", None) or "fashion")
    mine.data.pop("recipe", None)
    path = locate_recipe(chosen, project_file.parent if project_file else None)
    label = f"recipes/{path.name}" if path.parent == shipped_folder() else str(path)
    layers = [
        read_yaml(path, label),
        mine,
        environment_source(environ or {}, Recipe.model_fields),
        assignment_source(assignments),
    ]
    merged: Any = {"name": path.stem}
    for layer in layers:
        merged = merge(merged, layer.data)
    if defaults:
        try:
            base, numbers = defaults(merged.get("base", "auto"))
        except (UsageError, TypeError, ValueError, RuntimeError, OSError) as problem:
            _check(
                merged, layers
            )  # a wrong key is the more likely cause, and is said with its line
            if isinstance(problem, UsageError):
                raise
            raise UsageError(
                f"The base {merged.get('base')!r} cannot be read: {problem}."
            ) from problem
        layers.insert(0, ConfigSource("base defaults", numbers))
        merged = {**merge(numbers, merged), "base": base}
    return _check(merged, layers)


def _check(merged: Mapping[str, Any], layers: list[ConfigSource]) -> Recipe:
    kind = recipe_model()
    try:
        return kind.model_validate(merged)
    except ValidationError as found:
        problems = [_sentence(kind, error, layers) for error in found.errors()]
        raise RecipeError(sorted(set(problems), key=_by_line)) from found


def _by_line(problem: str) -> tuple[str, int]:
    place, line = problem.split(": ")[0].rpartition(":")[::2]
    return (place, int(line)) if line.isdigit() else (problem, 0)


def _sentence(kind: type[BaseModel], error: Any, layers: list[ConfigSource]) -> str:
    keys = tuple(str(k) for k in error["loc"])
    keys = tuple(k for k in keys if not k.endswith("]") and k not in ("str", "BaseFolders"))
    place = next(
        (p for n in (keys, keys[:-1]) for layer in reversed(layers) if n and (p := layer.place(n))),
        "recipe",
    )
    dotted, parent = ".".join(keys), keys[:-1]
    if error["type"] == "extra_forbidden":
        known = _fields(kind, parent)
        room = (
            parent[-1].removesuffix("s")
            if parent == ("objectives",)
            else f"key in {'.'.join(parent) or 'a recipe'}"
        )
        return f"{place}: no {room} named '{keys[-1]}'.{nearest(keys[-1], known)}"
    if error["type"] == "missing":
        return f"{place}: {dotted} is missing."
    if keys == ("schema_version",):
        return (
            f"{place}: schema_version is {error['input']!r}; this unidiff reads {SCHEMA_VERSION}."
        )
    message = error["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if error["type"] == "value_error":
        return f"{place}: {dotted}: {message}{'' if message.endswith(('.', '?')) else '.'}"
    return f"{place}: {dotted} is {error['input']!r}; {message}."


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
