"""Splits that only later rows of a table show: its first rows may all be train.

A pass over all rows counts the few words of each column and the folders of the images. What they
say then is read as if the first rows had said it.
"""

from __future__ import annotations

from collections import Counter

from unidiff_cli.data.captions import cell_text
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.readers import _split_column
from unidiff_cli.data.readers._cells import Cells
from unidiff_cli.data.readers._image_cells import Image
from unidiff_cli.data.readers._image_splits import FolderNames, folder_of_splits
from unidiff_cli.data.readers._table_columns import TableColumns

# Words that are named.
NAMED = 5
NOT_SO = "If not: --set prepare.columns.split=''"


class LateSplits:
    """Watches the columns of a table that said no split in its first rows."""

    def __init__(self, columns: TableColumns) -> None:
        self._columns = columns
        self.begin_pass()

    def begin_pass(self) -> None:
        names = self._columns.without_split()
        self.is_on = names is not None
        self._words: dict[str, Counter[str]] = {name: Counter() for name in names or ()}
        self._folders = FolderNames()

    @property
    def names(self) -> list[str]:
        """The columns that are watched."""
        return list(self._words)

    def row(self, cells: Cells) -> None:
        """Counts the words of a row."""
        full = ""
        for name, words in self._words.items():
            cell = cells.get(name)
            if cell is not None:
                words[cell if isinstance(cell, str) else cell_text(cell)] += 1
                if len(words) > _split_column.MOST_WORDS:
                    full = name
        if full:
            del self._words[full]

    def image(self, image: Image) -> None:
        """Counts the folders of an image."""
        if self.is_on and isinstance(image, str):
            self._folders.add(image)

    def adopt(self) -> bool:
        """Reads the split that all rows show, after a pass; False where they show none."""
        if not self.is_on:
            return False
        words = {name: _texts(counted) for name, counted in self._words.items()}
        words = {name: counted for name, counted in words.items() if counted}
        found: list[Doubt] = []
        name = _split_column.split_column(words, self._columns.split_words, found)
        if name is not None:
            self._columns.roles["split"] = name
            self._say(f"column '{name}'", words[name], f"prepare.columns.split={name}")
            return True
        # What is not clear is asked for, as where the first rows show it.
        known = self._columns.doubts
        known += [doubt for doubt in found if doubt.stops and doubt not in known]
        part = folder_of_splits(self._folders, self._columns.split_words)
        if part is None:
            return False
        self._columns.split_part = part
        folders = self._folders.depths()[part]
        if not self._columns.split_words:
            word = folders.most_common()[-1][0]
            self._say("folders of the images", folders, f"prepare.split_words.{word}=test")
        return True

    def _say(self, what: str, words: Counter[str], key: str) -> None:
        rows = f"the first {len(self._columns.head):,} rows"
        counted = ", ".join(f"'{word}' ({n:,})" for word, n in words.most_common(NAMED))
        self._columns.doubts.append(
            Doubt(
                f"The split of each row is read from the {what}, which {rows} do not show: "
                f"{counted}.",
                f"To say so: --set {key}. {NOT_SO}",
            )
        )


def _texts(words: Counter[str]) -> Counter[str]:
    """Words as they are compared: cells as text, empty ones left out."""
    texts: Counter[str] = Counter()
    for word, rows in words.items():
        if text := cell_text(word):
            texts[text] += rows
    return texts
