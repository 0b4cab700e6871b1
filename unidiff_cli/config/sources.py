"""Sources of a recipe: a YAML file with the line of every key, the environment, `--set`.

YAML comes from people and from strangers: tags, bombs and depths are refused before anything is
built from it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from unidiff_cli.errors import RecipeError, UsageError

# The parser takes 30 s a megabyte and 9 s on 50,000 nested brackets; aliases unfold to any size.
MAX_BYTES, MAX_BRACKETS, MAX_NODES, MAX_DEPTH = 100_000, 1_000, 10_000, 20
# A text that begins with a column in braces; a mapping of YAML has a colon or a comma there.
TEMPLATE = re.compile(r"\s*\{[^{}:,\"']+\}")


class ConfigSource:
    """One source of values: plain data, and the line of every key, or the variable that sets it."""

    def __init__(
        self,
        label: str,
        data: Mapping[str, Any],
        lines: Mapping[tuple[str, ...], int | str] | None = None,
    ) -> None:
        self.label, self.data, self.lines = label, dict(data), lines or {}

    def place(self, keys: tuple[str, ...]) -> str | None:
        """`file:line` of a key, or the label; None where this source does not set it."""
        node: Any = self.data
        for key in keys:
            if not isinstance(node, Mapping) or key not in node:
                return None
            node = node[key]
        line = self.lines.get(keys)
        return f"{self.label}:{line}" if line else self.label


def read_yaml(path: Path, label: str | None = None) -> ConfigSource:
    """A YAML file as a source. Raises RecipeError with the line where it is no YAML mapping."""
    label = label or str(path)
    try:
        with open(path, "rb") as stream:
            text = stream.read(MAX_BYTES + 1)
    except OSError as problem:
        raise UsageError(f"{label} cannot be read: {problem.strerror}.") from problem
    return parse_yaml(text, label)


def parse_yaml(text: str | bytes, label: str) -> ConfigSource:
    """A YAML text as a source. Raises RecipeError with the line where it is no YAML mapping."""
    if len(text) > MAX_BYTES:
        raise RecipeError(
            [f"{label}: this is longer than {MAX_BYTES:,} bytes, which no such file is."]
        )
    tree = parse(text, label)
    if tree is None:
        return ConfigSource(label, {})
    if not isinstance(tree, Mapping):
        kind = "a list" if isinstance(tree, list) else f"the value {str(tree)[:40]!r}"
        raise RecipeError([f"{label}:1: keys with values are asked for here, and this is {kind}."])
    plain = _PlainData(label)
    return ConfigSource(label, plain.convert(tree), plain.lines)


def parse(text: str | bytes, label: str) -> Any:
    """ruamel's tree of a YAML text. Raises RecipeError with the line where it is none."""
    from ruamel.yaml import YAML

    try:
        text = text if isinstance(text, str) else text.decode("utf-8-sig")
        if text.count("[") + text.count("{") > MAX_BRACKETS:
            raise ValueError(f"more than {MAX_BRACKETS:,} brackets")
        return YAML(typ="rt", pure=True).load(text)
    # Besides YAMLError, ruamel lets out what its constructors meet on junk.
    except Exception as problem:
        mark = getattr(problem, "problem_mark", None)
        place = f"{label}:{mark.line + 1}" if mark else label
        reason = str(getattr(problem, "problem", None) or problem).strip() or type(problem).__name__
        if isinstance(problem, RecursionError):
            reason = "it is nested too deep"
        raise RecipeError([f"{place}: this is not valid YAML: {reason.splitlines()[0]}."]) from (
            problem
        )


class _PlainData:
    """ruamel's tree as plain data, noting the line of every key; refuses bombs and foreign tags."""

    def __init__(self, label: str) -> None:
        self.label, self.count = label, 0
        self.lines: dict[tuple[str, ...], int] = {}

    def convert(self, node: Any, keys: tuple[str, ...] = ()) -> Any:
        self.count += 1
        if self.count > MAX_NODES or len(keys) > MAX_DEPTH:
            raise self._problem(
                f"more than {MAX_NODES:,} values or {MAX_DEPTH} levels; that is no recipe"
            )
        tag = getattr(getattr(node, "tag", None), "value", None)
        if tag and not isinstance(node, str | int | float):
            raise self._problem(
                f"{'.'.join(keys)} is tagged {tag}; a recipe holds plain values only"
            )
        if isinstance(node, Mapping):
            return {str(key): self._item(node, key, keys) for key in node}
        if isinstance(node, list | tuple):
            return [self.convert(value, (*keys, str(i))) for i, value in enumerate(node)]
        if isinstance(node, bool) or node is None:
            return node
        for kind in (int, float, str):
            if isinstance(node, kind):
                return kind(node)
        raise self._problem(
            f"{'.'.join(keys)} holds a {type(node).__name__}, which a recipe cannot"
        )

    def _item(self, node: Any, key: Any, keys: tuple[str, ...]) -> Any:
        place = (*keys, str(key))
        if hasattr(node, "lc") and key in (node.lc.data or {}):
            self.lines[place] = node.lc.data[key][0] + 1
        return self.convert(node[key], place)

    def _problem(self, sentence: str) -> RecipeError:
        return RecipeError([f"{self.label}: {sentence}."])


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
    """`--set a.b=v` options as a source.

    The value is YAML, so `[a, b]`, `null` and `1e-5` mean a list, nothing and a number. No value is
    the empty text, since a shell takes the quotes off `key=''`.
    """
    data: dict[str, Any] = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UsageError(
                f"--set {text!r} is not of the form key=value.", "Example: --set train.steps=500"
            )
        keys = key.strip().split(".")
        _place(data, keys, _value(keys, value, f"--set {key.strip()}") if value.strip() else "")
    return ConfigSource("--set", data)


def environment_source(environ: Mapping[str, str], known: Collection[str]) -> ConfigSource:
    """`UNIDIFF_TRAIN__STEPS=500`, `UNIDIFF_BASE=nano` as a source; `__` goes down one level."""
    data: dict[str, Any] = {}
    lines: dict[tuple[str, ...], str] = {}
    for name, text in sorted(environ.items()):
        keys = name.removeprefix("UNIDIFF_").lower().split("__")
        # A single word that no recipe knows is no key: UNIDIFF_PROJECT names the directory.
        if name.startswith("UNIDIFF_") and (len(keys) > 1 or keys[0] in known):
            _place(data, keys, _value(keys, text, f"environment:{name}"))
            lines[tuple(keys)] = name
    return ConfigSource("environment", data, lines)


def _value(keys: list[str], text: str, label: str) -> Any:
    # A shell takes the quotes off "{name} in {color}" too.
    if TEMPLATE.match(text):
        return text
    value = _PlainData(label).convert(parse(text, label), tuple(keys))
    # YAML 1.2 reads 1e-5 as text; people mean the number.
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
    """The data of two sources as one: mappings merge key by key, anything else is replaced."""
    if not (isinstance(below, Mapping) and isinstance(above, Mapping)):
        return above
    return {**below, **{k: merge(below[k], v) if k in below else v for k, v in above.items()}}
