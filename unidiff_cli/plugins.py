"""The one door from a name to code: built-in parts and entry points come through it alike.

A room is a folder of parts: `objectives`, `bases`, `readers`, `metrics`. A part is one file;
`objectives/text_diffusion.py` defines the class `TextDiffusion` and is named `text_diffusion` in recipes.
Another package adds one with an entry point in the group `unidiff.<room>`.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

from .errors import UsageError, nearest

ROOMS = ("objectives", "bases", "readers", "metrics")


def _builtin(room: str) -> list[str]:
    folder = Path(__file__).parent / room
    return sorted(p.stem for p in folder.glob("*.py") if not p.stem.startswith("_"))


@cache
def names(room: str) -> tuple[str, ...]:
    """The parts of a room, built-in and installed, sorted; nothing is imported."""
    return tuple(sorted({*_builtin(room), *(e.name for e in entry_points(group=f"unidiff.{room}"))}))


@cache
def load(room: str, name: str) -> type:
    """The class of one part. Raises UsageError for a name nobody offers."""
    if name in _builtin(room):
        module = import_module(f"unidiff_cli.{room}.{name}")
        return getattr(module, "".join(word.capitalize() for word in name.split("_")))
    for entry in entry_points(group=f"unidiff.{room}", name=name):
        return entry.load()
    raise UsageError(
        f"There is no {room.removesuffix('s')} named '{name}'.{nearest(name, names(room))}",
        f"Known: {', '.join(names(room))}.",
    )
