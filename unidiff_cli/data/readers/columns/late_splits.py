"""Splits that only later rows of a table show: its first rows may all be train.

A pass over all rows counts the few words of each column and the folders of the images. What they
say then is read as if the first rows had said it.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence

from unidiff_cli.data.captions import cell_text
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.readers.columns.image_cells import Image
from unidiff_cli.data.readers.columns.image_splits import FolderNames, folder_of_splits
from unidiff_cli.data.readers.columns.split_column import MOST_WORDS, split_column
from unidiff_cli.data.readers.columns.table_columns import TableColumns
from unidiff_cli.data.readers.rows.cells import Cells
from unidiff_cli.data.split_words import setting

# Words that are named.
NAMED = 5


class LateSplits:
    """Watches the columns of a table that said no split in its first rows."""

    def __init__(self, columns: TableColumns) -> None:
        self.columns = columns
        self.begin_pass()

    def begin_pass(self) -> None:
        names = self.columns.without_split()
        self.is_on = names is not None
        self._words: dict[str, Counter[str]] = {name: Counter() for name in names or ()}
        self.folders = FolderNames()

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
                if len(words) > MOST_WORDS:
                    full = name
        if full:
            del self._words[full]

    def image(self, image: Image) -> None:
        """Counts the folders of an image."""
        if self.is_on and isinstance(image, str):
            self.folders.add(image)

    def words(self) -> dict[str, Counter[str]]:
        """The words of each watched column as they are compared, and how many rows have them."""
        return {name: _texts(counted) for name, counted in self._words.items()}


def adopt_splits(tables: Sequence[LateSplits]) -> bool:
    """Reads the split that all rows of these tables show together, after a pass.

    False where they show none, or all first rows did.
    """
    tables = [table for table in tables if table.is_on]
    if not tables:
        return False
    first = tables[0].columns
    words = _together([table.words() for table in tables])
    found: list[Doubt] = []
    name = split_column(words, first.split_words, found)
    if name is not None:
        for table in tables:
            if name in table.columns.names:
                table.columns.roles["split"] = name
        said = f"--set {shlex.quote(f'prepare.columns.split={name}')}"
        first.doubts.append(_late(f"column '{name}'", words[name], first, said))
        return True
    # What is not clear is asked for, as where the first rows show it.
    first.doubts += [doubt for doubt in found if doubt.stops and doubt not in first.doubts]
    folders = FolderNames()
    for table in tables:
        folders.update(table.folders)
    part = folder_of_splits(folders, first.split_words)
    if part is None:
        return False
    for table in tables:
        table.columns.split_part = part
    if not first.split_words:
        counted = folders.depths()[part]
        said = setting(counted.most_common()[-1][0], "test")
        first.doubts.append(_late("folders of the images", counted, first, said))
    return True


def _together(tables: Sequence[dict[str, Counter[str]]]) -> dict[str, Counter[str]]:
    """The words of each column in all tables; none of a column that has too many in one."""
    words: dict[str, Counter[str]] = {}
    for name in tables[0]:
        if all(name in table for table in tables):
            words[name] = sum((table[name] for table in tables), Counter())
    return {name: counted for name, counted in words.items() if 0 < len(counted) <= MOST_WORDS}


def _late(what: str, words: Counter[str], columns: TableColumns, said: str) -> Doubt:
    counted = ", ".join(f"'{word}' ({n:,})" for word, n in words.most_common(NAMED))
    return Doubt(
        f"The split of each row is read from the {what}, which the first {len(columns.head):,} "
        f"rows do not show: {counted}.",
        f"To say so: {said}. If not: --set prepare.columns.split=''",
    )


def _texts(words: Counter[str]) -> Counter[str]:
    """Words as they are compared: cells as text, empty ones left out."""
    texts: Counter[str] = Counter()
    for word, rows in words.items():
        if text := cell_text(word):
            texts[text] += rows
    return texts
