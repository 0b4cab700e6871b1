"""Splits that are folders in the paths of images: train/a.jpg, test/b.jpg."""

from __future__ import annotations

from collections.abc import Sequence

from unidiff_cli.data.readers._image_cells import parts_of
from unidiff_cli.data.splits import split_of


def folder_of_splits(names: Sequence[str]) -> int | None:
    """The part of these paths, by its number, that names a split in most of them.

    None where no part does, or all name the same split.
    """
    paths = [parts_of(name)[:-1] for name in names]
    depth = min((len(path) for path in paths), default=0)
    for part in range(depth):
        splits = [split_of(path[part]) for path in paths]
        understood = [split for split in splits if split]
        if len(set(understood)) > 1 and 2 * len(understood) > len(paths):
            return part
    return None


def folder_word(name: str, part: int) -> str:
    """The word of a path that says its split; "" where the path is too short."""
    folders = parts_of(name)[:-1]
    return folders[part] if part < len(folders) else ""
