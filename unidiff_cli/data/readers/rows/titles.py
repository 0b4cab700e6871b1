"""Lines above the header of a table: a title, the date of an export, names of groups of columns."""

from __future__ import annotations

import re
from collections.abc import Sequence

from unidiff_cli.data.columns import ROLES, plain
from unidiff_cli.data.sample import FOREIGN_SUFFIXES, IMAGE_SUFFIXES

# Rows in which the header is looked for.
ROWS = 12
ABOVE = "lines above the header, left out"
_ENDINGS = "|".join(suffix[1:] for suffix in sorted(IMAGE_SUFFIXES | FOREIGN_SUFFIXES))
_IMAGE = re.compile(rf"\.(?:{_ENDINGS})\b|://", re.IGNORECASE)
_NUMBER = re.compile(r"[\d\s.,:/+-]+")
_TECHNICAL = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9#]+)*")
_KNOWN = frozenset(plain(name) for role in ("image", "caption", "id") for name in ROLES[role])


def titles(rows: Sequence[Sequence[str]]) -> int:
    """How many of the first rows of a table stand above its header.

    Such a row has one filled cell, or less than half as many as the header; none of them is the
    usual name of a column. The header names all its columns, each in its own words.
    """
    filled = [[cell.strip() for cell in row if cell.strip()] for row in rows[:ROWS]]
    widest = max((len(row) for row in filled), default=0)
    above = 0
    for cells in filled:
        if len(cells) > 1 and 2 * len(cells) >= widest:
            break
        if any(plain(cell) in _KNOWN for cell in cells):
            return 0
        above += 1
    if not 0 < above < len(filled) or not _names_columns(rows[above]):
        return 0
    # Amazon's templates have the names that people read above those that programs read.
    is_double = above + 1 < len(filled) and _is_technical(rows[above], rows[above + 1])
    return above + is_double


def _names_columns(row: Sequence[str]) -> bool:
    """Whether a row looks like a header: no cell is empty, a number, or an image."""
    cells = [cell.strip() for cell in row]
    while cells and not cells[-1]:
        cells.pop()
    return all(map(_is_name, cells)) and len(set(cells)) == len(cells) > 1


def _is_name(cell: str) -> bool:
    return bool(cell) and not _NUMBER.fullmatch(cell) and not _IMAGE.search(cell)


def _is_technical(header: Sequence[str], row: Sequence[str]) -> bool:
    """Whether a row below a header names the same columns once more, as programs do."""
    cells = [cell.strip() for cell in row if cell.strip()]
    count = sum(bool(cell.strip()) for cell in header)
    technical = all(_TECHNICAL.fullmatch(cell) for cell in cells)
    return technical and len(cells) == count and 2 * sum("_" in cell for cell in cells) > count
