"""Records of a CSV: the cells of one row, from as many lines as its quotes need.

A quote that is never closed costs the line that opens it: the other lines are given back.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from unidiff_cli.config.prepare import SEPARATORS
from unidiff_cli.data.readers.rows.text_stream import Line
from unidiff_cli.data.sample import Reason

QUOTING: dict[str, dict[str, Any]] = {
    "doubled": {},
    "backslash": {"escapechar": "\\", "doublequote": False},
    "none": {"quoting": csv.QUOTE_NONE},
}
QUOTES = {
    "doubled": "",
    "backslash": '\\" is a quote inside quotes',
    "none": "quotes are plain letters",
}
# Lines of one quoted cell.
MAX_LINES = 1000
UNCLOSED = Reason("a quote opens on this line and is never closed")
_MORE_CELLS = "cells, but the header names"

# The number of a row's first line, its cells or why it has none, and its lines.
Row = tuple[int, list[str] | Reason, list[Line]]


@dataclass(frozen=True)
class Dialect:
    """A way to write a CSV; `rival` is a separator that would do as well."""

    separator: str = ","
    quoting: str = "doubled"
    # Lines before the header.
    skipped: int = 0
    rival: str = ""
    # Titles and the like among the lines before the header.
    above: int = 0

    def decisions(self) -> dict[str, str]:
        """The separator and, where they are not as usual, quotes and the header, in words."""
        words = {"separator": name_of(self.separator), "quotes": QUOTES[self.quoting]}
        if self.above:
            words["header"] = f"the header in line {self.skipped + 1}"
        return {label: word for label, word in words.items() if word}

    def cells(self, texts: Iterator[str]) -> list[str]:
        """The cells of the next record. Raises csv.Error."""
        if self.quoting == "backslash":
            texts = (self._without_nulls(text) for text in texts)
        options = QUOTING[self.quoting]
        return next(csv.reader(texts, delimiter=self.separator, strict=True, **options))

    def _without_nulls(self, text: str) -> str:
        """MySQL's \\N is no cell; the backslash would leave an N."""
        if "\\N" not in text:
            return text
        sep = re.escape(self.separator)
        return re.sub(rf"(^|{sep})\\N(?=$|{sep}|\r|\n)", r"\1", text)


def more_cells(cells: int, columns: int) -> Reason:
    """Why a row with more cells than the header is none."""
    return Reason(f"{cells:,} {_MORE_CELLS} {columns:,} column{'s' * (columns != 1)}")


def is_of_dialect(reason: Reason) -> bool:
    """Whether a row may be none because the table is read by a wrong separator or quote."""
    return reason == UNCLOSED or _MORE_CELLS in reason.text


def name_of(separator: str) -> str:
    """comma, semicolon, tab, bar, or the character itself."""
    shown = separator if separator.isprintable() else ascii(separator)[1:-1]
    return next((name for name, sep in SEPARATORS.items() if sep == separator), shown)


class Lines:
    """Numbered lines that can be given back."""

    def __init__(self, source: Iterator[Line], most: int) -> None:
        self.most = most
        self._source, self._again = source, deque[Line]()

    def take(self) -> Line | None:
        return self._again.popleft() if self._again else next(self._source, None)

    def back(self, lines: list[Line]) -> None:
        self._again.extendleft(reversed(lines))


def rows(lines: Lines, dialect: Dialect) -> Iterator[Row]:
    """The records of a CSV, one at a time; the caller may give lines back."""
    while (line := lines.take()) is not None:
        number, text = line
        if number <= dialect.skipped:
            continue
        if text is None:
            reason = f"the line is longer than {lines.most:,} characters (prepare.limits.row)"
            yield number, Reason(reason), [line]
        elif "\0" in text:
            yield number, Reason("the line holds a NUL byte"), [line]
        elif text.strip():
            parts = [line]
            cells = _cells(lines, parts, dialect)
            if isinstance(cells, Reason):
                lines.back(parts[1:])
            yield number, cells, parts


def are_rows(parts: list[Line], columns: int, separator: str) -> bool:
    """Whether lines that a quote joined are rows of their own, each with all its cells.

    Text has commas, so a few of them are no row; it has no tabs.
    """
    if len(parts) < 2 or columns < (2 if separator == "\t" else 4):
        return False
    return all(text and text.count(separator) == columns - 1 for _, text in parts)


def _cells(lines: Lines, parts: list[Line], dialect: Dialect) -> list[str] | Reason:
    """The cells of the row that starts with parts[0], taking more lines while a quote is open."""

    def texts() -> Iterator[str]:
        yield parts[0][1] or ""
        size = len(parts[0][1] or "")
        while (line := lines.take()) is not None:
            parts.append(line)
            more = line[1]
            if more is None or "\0" in more or len(parts) > MAX_LINES:
                return
            size += len(more)
            if size > lines.most:
                return
            yield more

    try:
        return dialect.cells(texts())
    except csv.Error as problem:
        is_open = "unexpected end" in str(problem) or len(parts) > 1
        return UNCLOSED if is_open else Reason(f"not readable as CSV: {problem}")
