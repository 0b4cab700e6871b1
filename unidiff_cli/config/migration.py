"""Old schemas of a recipe: the new name of every key and value that was renamed.

A recipe with an old name is refused. The message names the new one, with file and line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unidiff_cli.config.sources import ConfigSource

# Old key -> its name since schema 2.
KEYS = {
    "train.lr.unet": "train.lr.denoiser",
    "train.lr.heads": "train.lr.new_layers",
    "objectives.consistency.tap": "objectives.consistency.layer",
    "objectives.consistency.below": "objectives.consistency.max_timestep",
    "objectives.consistency.eta": "objectives.consistency.anchor_weight",
    "train.gradient_cosine_every": "train.measure_gradients_every",
}
# Key -> its old values and their names since schema 2.
VALUES = {"train.trains": {"unet": "denoiser", "heads": "new_layers"}}
VERSION = ("schema_version",)


def migrate(source: ConfigSource) -> tuple[ConfigSource, list[str]]:
    """The source under the names of today, and a sentence for each name that is an old one."""
    data, lines, problems = source.data, dict(source.lines), []
    for old, new in KEYS.items():
        keys, renamed = tuple(old.split(".")), tuple(new.split("."))
        if place := source.place(keys):
            problems.append(f"{place}: {old} is now {new}.")
            data = _renamed(data, keys, renamed[-1])
            lines |= {renamed: lines.pop(keys)} if keys in lines else {}
    for key, names in VALUES.items():
        keys = tuple(key.split("."))
        place, values = source.place(keys), _value(data, keys)
        if place and isinstance(values, list):
            old_values = [value for value in values if isinstance(value, str) and value in names]
            problems += [
                f"{place}: {value} in {key} is now {names[value]}." for value in old_values
            ]
            data = _replaced(data, keys, [names.get(str(value), value) for value in values])
    if data.get("schema_version") == 1:
        advice = "Rename what is named here, then write" if problems else "Write"
        place = source.place(VERSION)
        problems.append(f"{place}: schema_version 1 is an old schema. {advice} schema_version: 2.")
        data = _replaced(data, VERSION, 2)
    return ConfigSource(source.label, data, lines), problems


def _value(data: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data


def _replaced(data: Mapping[str, Any], keys: tuple[str, ...], value: Any) -> dict[str, Any]:
    """The data with another value at a place that is there."""
    key, *rest = keys
    return {**data, key: _replaced(data[key], tuple(rest), value) if rest else value}


def _renamed(data: Mapping[str, Any], keys: tuple[str, ...], name: str) -> dict[str, Any]:
    """The data with another name for the last of the keys; a value it has there already stays."""
    section = dict(_value(data, keys[:-1]))
    value = section.pop(keys[-1])
    return _replaced(data, keys[:-1], {name: value, **section})
