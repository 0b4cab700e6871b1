"""The shipped recipes, and the recipe that a project keeps."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from unidiff_cli.config.sources import (
    dump,
    parse,
    read_yaml,
)
from unidiff_cli.errors import RecipeError, UsageError, nearest
from unidiff_cli.project.project import FILE


def shipped_folder() -> Path:
    """The folder of the recipes that come with unidiff, in a wheel and in a checkout alike."""
    package = Path(__file__).parent.parent
    inside = package / "recipes"
    return inside if inside.is_dir() else package.parent / "recipes"


def shipped_recipes() -> dict[str, Path]:
    """The shipped recipes, name to file."""
    return {p.stem: p for p in sorted(shipped_folder().glob("*.yaml"))}


def _is_path(name: str) -> bool:
    return name.endswith((".yaml", ".yml")) or os.sep in name


def locate_recipe(name: str, beside: Path | None = None) -> Path:
    """The file a recipe's name or path means. Raises UsageError with the nearest name."""
    if _is_path(name):
        for folder in (Path.cwd(), beside or Path.cwd()):
            if (path := folder / os.path.expanduser(name)).is_file():
                return path
        raise UsageError(
            f"There is no recipe file {name}.", "List the shipped ones with: unidiff recipes list"
        )
    known = shipped_recipes()
    if name not in known:
        raise UsageError(
            f"There is no recipe named '{name}'.{nearest(name, known)}",
            f"Shipped: {', '.join(known)}; or give a path.",
        )
    return known[name]


def copy_recipe(name: str, to: Path | None = None, force: bool = False) -> Path:
    """Copies a recipe to a file or into a folder and returns the file. Raises UsageError where one is there."""
    source = locate_recipe(name)
    target = to or Path(source.name)
    if target.is_dir():
        target = target / source.name
    if target.exists() and not force:
        raise UsageError(
            f"{target} is there already.", "Name another file, or pass --force to replace it."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())
    return target


def remember_recipe(file: Path, name: str) -> None:
    """Writes the recipe's name into a project's unidiff.yaml, leaving the rest and its comments as they are."""
    if _is_path(name):
        name = str(locate_recipe(name, file.parent).absolute())
    before = read_yaml(file, FILE).data
    if before.get("recipe") == name:
        return
    text = file.read_bytes().decode("utf-8-sig")
    plain = (
        re.fullmatch(r"[A-Za-z][\w-]*", name) and parse(name, FILE) == name
    )  # null is no name unquoted
    line = f"recipe: {name if plain else json.dumps(name, ensure_ascii=False)}"
    after, found = re.subn(
        r"(?m)^recipe[ \t]*:[^#\r\n]*?(?=[ \t]*(#|\r|$))", lambda _: line, text, count=1
    )
    if not found:
        after = f"{text}{'' if text.endswith(chr(10)) or not text else chr(10)}{line}\n"
    beside = file.with_name(f".{file.name}.new")
    beside.write_bytes(after.encode())
    if _data(beside) != {
        **before,
        "recipe": name,
    }:  # a file of an unusual shape: written by the parser
        tree = parse(text, FILE)
        tree["recipe"] = name
        beside.write_text(dump(tree), encoding="utf-8")
    os.replace(beside, file)


def _data(file: Path) -> Any:
    """What a YAML file says; None where it says nothing that a recipe could."""
    try:
        return read_yaml(file).data
    except RecipeError:
        return None
