"""Splits that are folders in the paths of images: train/a.jpg, test/b.jpg."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from unidiff_cli.data.readers.columns.image_cells import parts_of
from unidiff_cli.data.split_words import split_of, whole_split

# Folders of more names are no splits but for those that are understood.
MOST_FOLDERS = 20
# Beside so few others a folder `train` may be a split.
FEW = 4
# Names of folders that are kept at one depth.
MOST_NAMES = 10_000


class FolderNames:
    """The folders in the paths of images, by their depth, and how many images lie in each."""

    def __init__(self) -> None:
        self.total = 0
        self._depths: list[Counter[str]] = []
        # Images of one folder often follow each other.
        self._last, self._count = "", 0

    def add(self, name: str) -> None:
        """Counts an image by its path."""
        folder = name[: max(name.rfind("/"), name.rfind("\\")) + 1]
        if folder != self._last:
            self._flush()
            self._last = folder
        self._count += 1

    def depths(self) -> list[Counter[str]]:
        """The images of each name, at each depth."""
        self._flush()
        return self._depths

    def update(self, other: FolderNames) -> None:
        """Counts the images of another table too."""
        depths = other.depths()
        self.total += other.total
        for depth, names in enumerate(depths):
            if depth == len(self._depths):
                self._depths.append(Counter())
            self._depths[depth].update(names)

    def _flush(self) -> None:
        count, self._count = self._count, 0
        self.total += count
        folders = parts_of(f"{self._last}x")[:-1] if count else ()
        for depth, folder in enumerate(folders):
            if depth == len(self._depths):
                self._depths.append(Counter())
            names = self._depths[depth]
            if folder in names or len(names) < MOST_NAMES:
                names[folder] += count


def folder_of_splits(names: FolderNames, known: Mapping[str, str]) -> int | None:
    """The part of these paths, by its number, that names a split; None where no part does.

    `known` are words that the recipe explains. Where some words of the part are not understood
    they are asked for when they are read.
    """
    is_first = True
    for part, folders in enumerate(names.depths()):
        if _names_splits(folders, names.total, is_first, known):
            return part
        is_first &= len(folders) == 1
    return None


def folder_word(name: str, part: int) -> str:
    """The word of a path that says its split; "" where the path is too short."""
    folders = parts_of(name)[:-1]
    return folders[part] if part < len(folders) else ""


def paths_of(names: Iterable[str]) -> FolderNames:
    """The folders of some images."""
    folders = FolderNames()
    for name in names:
        folders.add(name)
    return folders


def _names_splits(
    folders: Counter[str], total: int, is_first: bool, known: Mapping[str, str]
) -> bool:
    """Whether folders of one depth are splits: by most of them, or by several whole words."""
    own = {folder: known.get(folder.lower()) for folder in folders}
    splits = {folder: own[folder] or split_of(folder) for folder in folders}
    understood = {folder: split for folder, split in splits.items() if split}
    rows = sum(folders[folder] for folder in understood)
    if len(set(understood.values())) > 1 and 2 * rows > total:
        return True
    if len(folders) > MOST_FOLDERS:
        return False
    whole = {folder: own[folder] or whole_split(folder) for folder in folders}
    named = {folder: split for folder, split in whole.items() if split}
    if len(set(named.values())) > 1:
        return True
    # Classes of vehicles are train, bus and car, and trains are not most of them.
    rows = sum(folders[folder] for folder in named)
    return is_first and bool(named) and 2 * rows > total and len(named) < len(folders) <= FEW
