"""The reference page of recipe keys, as Markdown made from the schema.

`python -m unidiff_cli.config.reference` prints docs/reference/recipe-keys.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from unidiff_cli.config.limits import MAX_COUNT
from unidiff_cli.config.schema import recipe_schema

# The schema of one key, or of one section, as JSON schema has it.
Node = Mapping[str, Any]

INTRODUCTION = """\
# Recipe keys

Every key of a recipe, with its type, its default and its meaning. This page is made from the code
by `make docs`.

A base has numbers of its own, such as learning rates, image size and steps. They replace the
defaults below; a recipe replaces both. See the values in force with
`unidiff recipes show NAME --resolved`. How to write a recipe is in
[the guide to training](../guides/training.md).

Keys of `train` marked † do not change the trained weights. With another value of one of them
`train` does not start a new run.
"""
TYPES = {
    "integer": "integer",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "object": "mapping of texts",
    "null": "null",
}
LIMITS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "multipleOf": "a multiple of {}",
}


def page() -> str:
    """The whole page."""
    schema = recipe_schema()
    parts = [INTRODUCTION, "## Top level\n\n" + _table(schema, schema)]
    for name in schema["properties"]:
        section = _section(schema["properties"][name], schema)
        if name == "objectives" and section:
            parts.append(_objectives(section, schema))
        elif section:
            parts.append(
                f"## {name}\n\n{section['description']}\n\n{_table(section, schema, name)}"
            )
    return "\n".join(parts)


def _objectives(section: Node, schema: Node) -> str:
    """One table per objective; a recipe names those it optimises."""
    text = (
        "## objectives\n\nThe terms of the loss, with their weights. A recipe names at least one; "
        "`null` switches one off.\n"
    )
    for name, node in section["properties"].items():
        part = _section(node, schema)
        assert part is not None
        path = f"objectives.{name}"
        text += f"\n### {path}\n\n{part['description']}\n\n{_table(part, schema, path)}"
    return text


def _table(section: Node, schema: Node, prefix: str = "") -> str:
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, node in _keys(section, schema, prefix):
        mark = "" if node.get("changes_weights", True) else " †"
        cells = [f"`{name}`{mark}", _type(node), _default(node), node.get("description", "")]
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _keys(section: Node, schema: Node, prefix: str) -> Iterator[tuple[str, Node]]:
    """The keys of a section that hold values, those of its own sections included."""
    for name, node in section["properties"].items():
        path = f"{prefix}.{name}" if prefix else name
        inner = _section(node, schema)
        # A base is a name or a section, so it is both.
        others = [option for option in node.get("anyOf", ()) if option.get("type") != "null"]
        if inner is None or len(others) > 1:
            yield path, node
        # At the top level a section has a table of its own.
        if inner is not None and prefix:
            yield from _keys(inner, schema, path)


def _section(node: Node, schema: Node) -> Node | None:
    """The section that a key holds, or may hold; None for a plain value."""
    for option in (node, *node.get("anyOf", ())):
        if "$ref" in option:
            return schema["$defs"][option["$ref"].rpartition("/")[2]]
    return None


def _type(node: Node) -> str:
    """The type of a key in words."""
    if "anyOf" in node:
        return " or ".join(_type(option) for option in node["anyOf"])
    if "$ref" in node:
        return "mapping"
    if "const" in node or "enum" in node:
        *values, last = (f"`{value}`" for value in node.get("enum", [node.get("const")]))
        return f"{', '.join(values)} or {last}" if values else last
    if "prefixItems" in node:
        return f"list of {len(node['prefixItems'])}: {_type(node['prefixItems'][0])}"
    if node["type"] == "array":
        return f"list of {_type(node['items'])}"
    # No person comes near the bound of all counts.
    limits = [
        form.format(_number(node[key]))
        for key, form in LIMITS.items()
        if key in node and node[key] != MAX_COUNT
    ]
    return ", ".join([TYPES[node["type"]], *limits])


def _number(value: float) -> str:
    """A limit; a large power of two as such."""
    power = int(value).bit_length() - 1
    return f"2^{power}" if power > 31 and value == 2**power else f"{value:,}"


def _default(node: Node) -> str:
    if "default" not in node:
        return "required"
    value = node["default"]
    return "null" if value is None else f"`{_yaml(value)}`"


def _yaml(value: Any) -> str:
    """A default as one writes it in a recipe."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(_yaml(item) for item in value)}]"
    if isinstance(value, dict):
        return "{}"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) if value != "" else '""'


if __name__ == "__main__":
    print(page(), end="")
