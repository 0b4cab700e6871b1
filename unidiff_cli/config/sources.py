"""Layers of plain data: a YAML file with the line of every key, the environment, `--set`; and how they merge.

YAML comes from people and from strangers: tags, bombs and depths are refused before anything is built from it.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from unidiff_cli.errors import RecipeError, UsageError

# the parser takes 30 s a megabyte, 9 s on 50,000 nested brackets, and aliases unfold to any size
MAX_BYTES, MAX_BRACKETS, MAX_NODES = 100_000, 1_000, 10_000


class ConfigSource:
    """One source of values: plain data and the line of every key, or its variable for the environment."""

    def __init__(
        self,
        label: str,
        data: Mapping[str, Any],
        lines: Mapping[tuple[str, ...], int | str] | None = None,
    ) -> None:
        self.label, self.data, self.lines = label, dict(data), lines or {}

    def place(self, keys: tuple[str, ...]) -> str | None:
        """`file:line` of a key here, or the label; None where this layer does not set it."""
        node: Any = self.data
        for key in keys:
            if not isinstance(node, Mapping) or key not in node:
                return None
            node = node[key]
        line = self.lines.get(keys)
        return f"{self.label}:{line}" if line else self.label


def read_yaml(path: Path, label: str | None = None) -> ConfigSource:
    """A YAML file as a layer. Raises RecipeError with the line where it is no YAML mapping."""
    label = label or str(path)
    try:
        with open(path, "rb") as stream:
            text = stream.read(MAX_BYTES + 1)
    except OSError as problem:
        raise UsageError(f"{label} cannot be read: {problem.strerror}.") from problem
    if len(text) > MAX_BYTES:
        raise RecipeError([f"{label}: this is longer than {MAX_BYTES:,} bytes; a recipe is not."])
    tree = parse(text, label)
    if tree is None:
        return ConfigSource(label, {})
    if not isinstance(tree, Mapping):
        raise RecipeError(
            [
                f"{label}:1: a recipe is a mapping of keys to values, this is a {type(tree).__name__}."
            ]
        )
    lines: dict[tuple[str, ...], int] = {}
    return ConfigSource(label, _plain(tree, (), lines, [0], label), lines)


def parse(text: str | bytes, label: str) -> Any:
    """ruamel's tree of a YAML text. Raises RecipeError with the line where it is none."""
    from ruamel.yaml import YAML

    try:
        text = text if isinstance(text, str) else text.decode("utf-8-sig")
        if text.count("[") + text.count("{") > MAX_BRACKETS:
            raise ValueError(f"more than {MAX_BRACKETS:,} brackets")
        return YAML(typ="rt", pure=True).load(text)
    except (
        Exception
    ) as problem:  # besides YAMLError, ruamel lets out what its constructors meet on junk
        mark = getattr(problem, "problem_mark", None)
        where = f"{label}:{mark.line + 1}" if mark else label
        said = str(getattr(problem, "problem", None) or problem).strip() or type(problem).__name__
        what = (
            "it is nested too deep" if isinstance(problem, RecursionError) else said.splitlines()[0]
        )
        raise RecipeError([f"{where}: this is not valid YAML: {what}."]) from problem


def _plain(
    node: Any,
    keys: tuple[str, ...],
    lines: dict[tuple[str, ...], int],
    count: list[int],
    label: str,
) -> Any:
    """ruamel's tree as plain data, noting the line of every key; refuses bombs and foreign tags."""
    count[0] += 1
    if count[0] > MAX_NODES or len(keys) > 20:
        raise RecipeError(
            [f"{label}: more than {MAX_NODES:,} values or 20 levels; that is no recipe."]
        )
    tag = getattr(getattr(node, "tag", None), "value", None)
    if tag and not isinstance(node, str | int | float):
        raise RecipeError(
            [f"{label}: {'.'.join(keys)} is tagged {tag}; a recipe holds plain values only."]
        )
    if isinstance(node, Mapping):
        result = {}
        for key, value in node.items():
            path = (*keys, str(key))
            if hasattr(node, "lc") and key in (node.lc.data or {}):
                lines[path] = node.lc.data[key][0] + 1
            result[str(key)] = _plain(value, path, lines, count, label)
        return result
    if isinstance(node, list | tuple):
        return [_plain(v, (*keys, str(i)), lines, count, label) for i, v in enumerate(node)]
    if isinstance(node, bool) or node is None:
        return node
    for kind in (int, float, str):
        if isinstance(node, kind):
            return kind(node)
    raise RecipeError(
        [f"{label}: {'.'.join(keys)} holds a {type(node).__name__}, which a recipe cannot."]
    )


def dump(data: Any) -> str:
    """Plain data as YAML in reading order."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = 110
    stream = io.StringIO()
    yaml.dump(data, stream)
    return stream.getvalue()


def assignment_source(assignments: Iterable[str]) -> ConfigSource:
    """`--set a.b=v` options as a layer; v is YAML, so `[a, b]`, `null` and `1e-5` mean what they say."""
    data: dict[str, Any] = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UsageError(
                f"--set {text!r} is not of the form key=value.", "Example: --set train.steps=500"
            )
        keys = key.strip().split(".")
        _place(data, keys, _value(keys, value, f"--set {key.strip()}"))
    return ConfigSource("--set", data)


def environment_source(environ: Mapping[str, str], known: Collection[str]) -> ConfigSource:
    """`UNIDIFF_TRAIN__STEPS=500`, `UNIDIFF_BASE=nano` as a layer (two underscores go down one level)."""
    data: dict[str, Any] = {}
    lines: dict[tuple[str, ...], str] = {}
    for name, text in sorted(environ.items()):
        keys = name.removeprefix("UNIDIFF_").lower().split("__")
        # a lone word that no recipe knows is no key: UNIDIFF_PROJECT names the directory
        if name.startswith("UNIDIFF_") and (len(keys) > 1 or keys[0] in known):
            _place(data, keys, _value(keys, text, f"environment:{name}"))
            lines[tuple(keys)] = name
    return ConfigSource("environment", data, lines)


def _value(keys: list[str], text: str, label: str) -> Any:
    value = _plain(parse(text, label), tuple(keys), {}, [0], label)
    # YAML 1.2 reads 1e-5 as text; people mean the number
    if isinstance(value, str):
        try:
            return float(value) if "e" in value.lower() else value
        except ValueError:
            return value
    return value


def _place(data: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        data = data.setdefault(key, {})
        if not isinstance(data, dict):
            raise UsageError(
                f"{'.'.join(keys)} cannot be set: '{key}' is set to a value, not to a section."
            )
    data[keys[-1]] = value


def merge(below: Any, above: Any) -> Any:
    """Two layers' data as one: mappings merge key by key, anything else is replaced."""
    if not (isinstance(below, Mapping) and isinstance(above, Mapping)):
        return above
    return {**below, **{k: merge(below[k], v) if k in below else v for k, v in above.items()}}
