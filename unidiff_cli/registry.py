"""The one way from a name to a part: built-in parts and entry points come through it alike.

A kind is a folder of parts, a part is one file: `objectives/text_diffusion.py` defines the class
`TextDiffusion` and is named `text_diffusion` in recipes. Another package adds a part with an entry
point in the group `unidiff.<kind>`, for example `unidiff.objectives`.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

from unidiff_cli.errors import UsageError, nearest

# Each kind of part and the package of the built-in ones.
KINDS = {
    "readers": "data.readers",
    "models": "models.families",
    "objectives": "objectives",
    "exporters": "exporters.formats",
    "indexes": "retrieval.indexes",
    "metrics": "evaluation.metrics",
}
_SINGULAR = {"indexes": "index"}


def _builtin(kind: str) -> list[str]:
    folder = Path(__file__).parent / KINDS[kind].replace(".", "/")
    return sorted(p.stem for p in folder.glob("*.py") if not p.stem.startswith("_"))


@cache
def names(kind: str) -> tuple[str, ...]:
    """The parts of a kind, built-in and installed, sorted; nothing is imported."""
    installed = (entry.name for entry in entry_points(group=f"unidiff.{kind}"))
    return tuple(sorted({*_builtin(kind), *installed}))


@cache
def load(kind: str, name: str) -> type:
    """The class of one part. Raises UsageError for a name that no package offers."""
    if name in _builtin(kind):
        module = import_module(f"unidiff_cli.{KINDS[kind]}.{name}")
        return getattr(module, "".join(word.capitalize() for word in name.split("_")))
    for entry in entry_points(group=f"unidiff.{kind}", name=name):
        return entry.load()
    singular = _SINGULAR.get(kind, kind.removesuffix("s"))
    raise UsageError(
        f"There is no {singular} named '{name}'.{nearest(name, names(kind))}",
        f"Known: {', '.join(names(kind))}.",
    )
