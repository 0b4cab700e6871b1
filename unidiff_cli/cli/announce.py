"""The project's `unidiff.yaml`, said before it is obeyed: whose it is, and what it sets.

Such a file may come with a catalogue that somebody else made.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from unidiff_cli.cli import console
from unidiff_cli.project.project import Project

# Keys that are said, and characters of each.
MOST, LONGEST = 8, 60


def announce(project: Project, catalogue: Path | None = None) -> None:
    """Says what the project's file sets.

    A warning where the file is another user's, or lies in the catalogue and sets more than the name
    of a shipped recipe; a note otherwise.
    """
    from unidiff_cli.config.shipped import shipped_recipes
    from unidiff_cli.config.sources import read_yaml

    file = project.file
    if not file.is_file():
        return
    data = {k: v for k, v in read_yaml(file).data.items() if k != "schema_version"}
    harmless = not data or (list(data) == ["recipe"] and data["recipe"] in shipped_recipes())
    owner = _other_owner(file)
    whose = f"{file} of user {owner}" if owner else f"{file}"
    inside = catalogue is not None and _lies_in(file, catalogue) and not harmless
    text = f"{whose}{' lies in the catalogue and' if inside else ''} sets {_summary(data)}"
    if owner or inside:
        console.warn(f"{text}. To leave it aside, name another project with -C.")
    else:
        console.note(text)


def _other_owner(file: Path) -> str:
    """The name or number of the user who owns a file; empty where this is their process."""
    if not hasattr(os, "geteuid") or (owner := file.stat().st_uid) == os.geteuid():
        return ""
    import pwd

    try:
        return pwd.getpwuid(owner).pw_name
    except KeyError:
        return str(owner)


def _lies_in(file: Path, catalogue: Path) -> bool:
    folder = catalogue if catalogue.is_dir() else catalogue.parent
    return file.resolve().is_relative_to(os.path.realpath(os.path.expanduser(folder)))


def _summary(data: Mapping[str, Any]) -> str:
    """The recipe, the base and the other keys, as many as fit a line."""
    first = {key: data[key] for key in ("recipe", "base") if key in data}
    keys = list(_leaves({**first, **data}))
    shown = [text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…" for text in keys[:MOST]]
    more = [f"{len(keys) - MOST} more"] if len(keys) > MOST else []
    return ", ".join([*shown, *more]) or "nothing"


def _leaves(data: Mapping[str, Any], section: str = "") -> Iterator[str]:
    """Every key with its value: train.steps=500."""
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{section}{key}.")
        else:
            yield f"{section}{key}={value}"
