"""How long texts and paths fit the columns of a terminal, in cells: a wide character takes two."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, chop_cells

# Columns that a column of text keeps beside one of paths: these, or where names are long, those.
TEXT, LEAST = 26, 10
# A border and two blanks around every cell.
FRAME = 3
LEFT_OUT = "…"


def cut(text: str, most: int) -> str:
    """A text of at most so many columns, its end left out."""
    if cell_len(text) <= most:
        return text
    return chop_cells(text, most - cell_len(LEFT_OUT))[0] + LEFT_OUT


def shortened(path: str, most: int) -> str:
    """A path of at most so many columns, its middle left out.

    The file's name stays whole, also where that alone takes more.
    """
    folder, slash, name = path.rpartition("/")
    if cell_len(path) <= most or not folder:
        return path
    end = LEFT_OUT + slash + name
    room = most - cell_len(end)
    return (chop_cells(folder, room)[0] if room > 0 else "") + end


def column_of_paths(rows: Sequence[Sequence[str]], place: int, terminal: int) -> int:
    """The columns that the paths of a table get on a terminal of so many columns.

    The others are narrow, or text that can be wrapped. A file's name stands on one line where the
    terminal allows.
    """
    paths = [row[place] for row in rows]
    widest = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    others = widest[:place] + widest[place + 1 :]
    room = terminal - FRAME * (len(others) + 1) - 1
    comfortable = room - sum(min(width, TEXT) for width in others)
    most = room - sum(min(width, LEAST) for width in others)
    names = max((cell_len(path.rpartition("/")[2]) + 2 for path in paths), default=0)
    width = max(comfortable, min(names, most), LEAST)
    return min(width, max(map(cell_len, paths), default=LEAST))
