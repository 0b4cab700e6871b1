"""The shipped recipes: list, locate, copy; and what a project's unidiff.yaml keeps of a call."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from unidiff_cli.config.sources import dump, parse, parse_yaml, read_yaml
from unidiff_cli.errors import RecipeError, UsageError, nearest
from unidiff_cli.project.files import atomic_file, write_text
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
    """Copies a recipe to a file or into a folder and returns the file.

    Raises UsageError where there is a file already, without `force`.
    """
    source = locate_recipe(name)
    target = to or Path(source.name)
    if target.is_dir():
        target = target / source.name
    if target.exists() and not force:
        raise UsageError(
            f"{target} is there already.", "Name another file, or pass --force to replace it."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(target) as beside:
        beside.write_bytes(source.read_bytes())
    return target


def remember(file: Path, key: str, value: str) -> None:
    """Writes the name of a recipe or a base into a project's unidiff.yaml. Raises as below."""
    text = with_value(file, key, value)
    if text.encode() != file.read_bytes():
        write_text(file, text)


def with_value(file: Path, key: str, value: str) -> str:
    """The text of a project's unidiff.yaml with a name in it, or with the whole path that it means.

    `key` is `recipe` or `base`, and only its value changes; comments, quotes and line ends stay. A
    file of an unusual shape is written anew by the parser, comments included. Raises UsageError
    where neither gives the same settings with the new name.
    """
    if key == "recipe" and _is_path(value):
        value = str(locate_recipe(value, file.parent).absolute())
    elif key == "base" and (folder := Path(os.path.expanduser(value))).is_dir():
        value = str(folder.absolute())
    before, text = read_yaml(file, FILE).data, file.read_bytes().decode("utf-8")
    if before.get(key) == value:
        return text
    for edited in (_edited(text, key, value), _dumped(text, key, value)):
        if _data(edited) == {**before, key: value}:
            return edited
    raise UsageError(
        f"The {key}'s name cannot be written into {file}.", f"Write it yourself: {key}: {value}"
    )


def _edited(text: str, key: str, value: str) -> str:
    """The YAML text with another value of a key, or with a line for it at the end."""
    from ruamel.yaml import YAML

    written = dump({key: value}).removeprefix(f"{key}:").strip()
    root = YAML(typ="rt", pure=True).compose(text)
    for each, node in root.value if root else ():
        if each.value == key:
            start, end = node.start_mark.index, node.end_mark.index
            gap = " " if text[:start].endswith(":") else ""
            return f"{text[:start]}{gap}{written}{text[end:]}"
    line_end = "\r\n" if "\r\n" in text else "\n"
    gap = "" if text.endswith(("\n", "\ufeff")) or not text else line_end
    return f"{text}{gap}{key}: {written}{line_end}"


def _dumped(text: str, key: str, value: str) -> str:
    tree = parse(text, FILE) or {}
    tree[key] = value
    return dump(tree)


def _data(text: str) -> Any:
    """What a YAML text says; None where it says nothing that a recipe could."""
    try:
        return parse_yaml(text, FILE).data
    except RecipeError:
        return None
