"""Rows of a CSV or TSV: a line that cannot be read costs itself and no other.

An unclosed quote, which lets `csv` swallow the rest of a file, is charged to the line that
opens it.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath

from unidiff_cli.config.prepare import Prepare
from unidiff_cli.data.locations import Location
from unidiff_cli.data.readers.rows import text_stream
from unidiff_cli.data.readers.rows.cells import Cells, Record
from unidiff_cli.data.readers.rows.dialect import dialect_of
from unidiff_cli.data.readers.rows.records import UNCLOSED, Lines, are_rows, more_cells, rows
from unidiff_cli.data.readers.rows.text_stream import Letters, letters_of
from unidiff_cli.data.readers.rows.titles import ABOVE
from unidiff_cli.data.sample import FOREIGN_SUFFIXES, IMAGE_SUFFIXES, Reason
from unidiff_cli.errors import TooLarge, UsageError

REPEATED = "lines that repeat the header, left out"
BLANK = "lines with separators and nothing else, left out"
UNNAMED = "column "
_ADDRESS = re.compile(r"https?://\S+", re.IGNORECASE)


def csv_rows(file: Location, options: Prepare, notes: Counter[str]) -> Iterator[Record]:
    """The rows of a CSV by its header. Raises UsageError where the first line is none."""
    csv.field_size_limit(max(csv.field_size_limit(), options.limits.row))
    dialect, letters = dialect_of(file, options), letters_of(file, options)
    header: list[str] = []
    first: list[str] = []
    unnamed: list[str] = []
    if dialect.above:
        notes[ABOVE] = dialect.above
    lines = Lines(text_stream.lines(file, options), options.limits.row)
    for number, cells, parts in rows(lines, dialect):
        if isinstance(cells, Reason):
            yield number, cells
            continue
        if not header and options.table.header is not False:
            texts = [_letters(cell, letters, notes) or "" for cell in cells]
            header, first = header_of(file, texts, options), cells
            unnamed = [name for name in header if name.startswith(UNNAMED)]
            continue
        if not header:
            header = numbered([""] * len(cells), options, file)
        while len(cells) > len(header) and not cells[-1].strip():
            cells.pop()
        if not any(map(str.strip, cells)):
            notes[BLANK] += 1
        elif cells == first[: len(cells)] and len(cells) > 1:
            notes[REPEATED] += 1
        elif len(cells) > len(header):
            lines.back(parts[1:])
            yield number, more_cells(len(cells), len(header))
        elif (len(cells) < len(header) and len(parts) > 1) or are_rows(
            parts, len(header), dialect.separator
        ):
            # A quote that was never closed swallowed lines.
            lines.back(parts[1:])
            yield number, UNCLOSED
        else:
            row = _row(header, cells, letters, notes)
            # Columns without a name are none where they hold nothing.
            if isinstance(row, dict):
                for name in unnamed:
                    if not row[name]:
                        del row[name]
            yield number, row


def _row(
    header: list[str], cells: list[str], letters: Letters, notes: Counter[str]
) -> Cells | Reason:
    """The cells by their columns, or why they are none."""
    texts: list[str] = cells + [""] * (len(header) - len(cells))
    # One look at the row, since nearly all are well read.
    if not text_stream.well_read("".join(cells)):
        mended = [_letters(cell, letters, notes) for cell in texts]
        if None in mended:
            return Reason(f"bytes that are no text in {letters.describe()}")
        texts = [text or "" for text in mended]
    return dict(zip(header, texts, strict=True))


def _letters(cell: str, letters: Letters, notes: Counter[str]) -> str | None:
    """A cell with all its letters; those of the file's exceptions are counted. None: it has not."""
    if text_stream.well_read(cell):
        return cell
    text = text_stream.mend(cell, letters)
    if text is not None and letters.exceptions:
        notes[f"cells that are not UTF-8, read as {letters.exceptions.name}"] += 1
    return text


# ---------------------------------------------------------------- headers


def header_of(file: Location, cells: list[str], options: Prepare) -> list[str]:
    """The names of the columns. Raises UsageError where they are too many, or are a row."""
    names = numbered(cells, options, file)
    values = [place for place, cell in enumerate(cells, 1) if _is_value(file, cell)]
    if options.table.header is None and values:
        image = values[0]
        others = [place for place in range(1, len(cells) + 1) if place != image]
        caption = max(others, key=lambda place: len(cells[place - 1]), default=2)
        raise UsageError(
            f"{file}: the first line is a row of data, not a header.",
            "Say that there is none: --set prepare.table.header=false "
            f"--set 'prepare.columns.image=column {image}' "
            f"--set 'prepare.columns.caption=column {caption}'. Or add a first line with the names "
            "of the columns.",
        )
    return names


def numbered(cells: list[str], options: Prepare, file: Location) -> list[str]:
    """Names without an empty or repeated one: Image, Image 2, column 3.

    Raises TooLarge.
    """
    most = options.limits.columns
    if len(cells) > most:
        raise TooLarge(
            f"{file}: the first line names {len(cells):,} columns, more than {most:,}.",
            f"Leave some out, or allow more: --set prepare.limits.columns={len(cells)}",
        )
    names: list[str] = []
    given = {cell.strip() for cell in cells}
    used: set[str] = set()
    for place, cell in enumerate(cells, 1):
        name = base = cell.strip().lstrip("\ufeff") or f"{UNNAMED}{place}"
        number = 1
        while name in used or (number > 1 and name in given):
            number += 1
            name = f"{base} {number}"
        used.add(name)
        names.append(name)
    return names


def _is_value(file: Location, cell: str) -> bool:
    """Whether a cell of the first line is no name of a column: an image's file, an address."""
    cell = cell.strip()
    if not 0 < len(cell) < 250 or "\0" in cell:
        return bool(_ADDRESS.match(cell))
    suffix = PurePosixPath(cell.replace("\\", "/")).suffix.lower()
    is_image = suffix in IMAGE_SUFFIXES | FOREIGN_SUFFIXES and cell.lower() != suffix
    # A word such as `text` is a column's name, whatever lies beside the table.
    is_file = any(letter in "./0123456789" for letter in cell) and file.sibling(cell).is_file()
    return is_image or bool(_ADDRESS.match(cell)) or is_file
