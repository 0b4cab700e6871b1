"""How a CSV is written: what separates its columns, what a quote means, where its header is.

Found from whole records of the beginning, not from lines: a quoted cell may have sixty lines. The
recipe's `prepare.table` says it by name.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from unidiff_cli.config.schema import SEPARATORS, Limits, Prepare, TableFile
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.locations import Location
from unidiff_cli.data.readers import _text
from unidiff_cli.data.readers._text import Line
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
# Lines and characters of the beginning, by which a dialect is found.
LINES, CHARACTERS = 4000, 1 << 19
# The share of records that have as many cells as the header.
FITTING = 0.8
# What some programs write above the header.
_SEPARATOR_LINE = re.compile(r'\ufeff?"?sep=(.)"?;?\s*', re.IGNORECASE)
UNCLOSED = Reason("a quote opens on this line and is never closed")

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

    def decisions(self) -> dict[str, str]:
        """The separator and, where they are not as usual, the quotes, in words."""
        words = {"separator": name_of(self.separator), "quotes": QUOTES[self.quoting]}
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


def name_of(separator: str) -> str:
    """comma, semicolon, tab, bar, or the character itself."""
    return next((name for name, sep in SEPARATORS.items() if sep == separator), separator)


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


# ---------------------------------------------------------------- finding it


def dialect_of(file: Location, options: Prepare) -> Dialect:
    """The dialect of a file: what the recipe says, else what is found. Raises OSError."""
    return _dialect(file, file.version, options.table, options.encoding, options.limits)


@lru_cache(maxsize=64)
def _dialect(
    file: Location, version: str, table: TableFile, encoding: str | None, limits: Limits
) -> Dialect:
    options = Prepare(table=table, encoding=encoding, limits=limits)
    beginning: list[Line] = []
    size = 0
    lines = _text.lines(file, options)
    for line in lines:
        beginning.append(line)
        size += len(line[1] or "")
        if size > CHARACTERS or len(beginning) > LINES:
            break
    is_whole = next(lines, None) is None
    csv.field_size_limit(max(csv.field_size_limit(), limits.row))
    is_tabs = file.name.lower().removesuffix(_text.PACKED).endswith(".tsv")
    return find(beginning, is_whole, table, limits.row, is_tabs)


@dataclass(frozen=True)
class _Fit:
    """How well a dialect fits: columns of its header, records that have as many, and others."""

    dialect: Dialect
    columns: int
    good: int
    bad: int

    @property
    def share(self) -> float:
        return self.good / max(1, self.good + self.bad)

    @property
    def fits(self) -> bool:
        return self.columns > 1 and self.share >= FITTING


def find(
    beginning: list[Line], is_whole: bool, table: TableFile, most: int, is_tabs: bool = False
) -> Dialect:
    """The dialect of the first lines of a file.

    Of the separators that fit, the one that gives the most columns. Quotes are doubled unless
    records break by that, and do not in another way.
    """
    skipped = 0
    first = next((line for line in beginning if line[1] and line[1].strip()), (0, ""))
    separators = [table.separator] if table.separator else list(SEPARATORS.values())
    if match := _SEPARATOR_LINE.fullmatch(first[1] or ""):
        skipped = first[0]
        separators = [table.separator or match[1]]
    header = next((t for n, t in beginning if n > skipped and t and t.strip()), "") or ""
    if is_tabs and "\t" in header and not table.separator:
        separators = ["\t"]
    separators = [sep for sep in separators if sep in header] or separators[:1]
    fits = [
        fit
        for separator in separators
        if (fit := _best_quoting(beginning, is_whole, table, most, Dialect(separator, "", skipped)))
    ]
    best = max(fits, key=lambda fit: (fit.fits, fit.columns if fit.fits else 0, fit.share))
    rivals = [
        fit.dialect.separator
        for fit in fits
        if fit is not best and fit.fits and fit.columns == best.columns
    ]
    found = best.dialect
    return Dialect(found.separator, found.quoting, skipped, rivals[0] if rivals else "")


def _best_quoting(
    beginning: list[Line], is_whole: bool, table: TableFile, most: int, dialect: Dialect
) -> _Fit:
    """The quoting that fits best with a separator."""

    def fit(quoting: str) -> _Fit:
        candidate = Dialect(dialect.separator, quoting, dialect.skipped)
        return _fit(beginning, is_whole, candidate, most)

    if table.quoting:
        return fit(table.quoting)
    doubled = fit("doubled")
    if doubled.bad == 0 or not any('"' in (text or "") for _, text in beginning):
        return doubled
    # csv drops quotes without a word where it does not expect them doubled.
    has_backslashes = any('\\"' in (text or "") for _, text in beginning)
    names = ("backslash", "none") if has_backslashes else ("none",)
    others = [other for other in map(fit, names) if other.fits]
    better = [other for other in others if other.share > 0.95 and 5 * other.bad < doubled.bad]
    return max(better, key=lambda other: other.share, default=doubled)


def _fit(beginning: list[Line], is_whole: bool, dialect: Dialect, most: int) -> _Fit:
    columns = good = bad = 0
    last = beginning[-1][0] if beginning else 0
    for _, cells, parts in rows(lines := Lines(iter(beginning), most), dialect):
        if isinstance(cells, Reason):
            # The beginning may end in the middle of a record.
            bad += is_whole or parts[-1][0] < last
        elif not columns:
            columns = len(cells)
        elif are_rows(parts, columns, dialect.separator):
            lines.back(parts[1:])
            bad += 1
        elif len(cells) == columns or (len(cells) > columns and not any(cells[columns:])):
            good += 1
        else:
            bad += is_whole or parts[-1][0] < last
            if len(parts) > 1:
                lines.back(parts[1:])
    return _Fit(dialect, columns, good, bad)


def dialect_doubts(file: Location, dialect: Dialect) -> list[Doubt]:
    """What is doubtful of a dialect."""
    if not dialect.rival:
        return []
    names = [name_of(separator) for separator in (dialect.separator, dialect.rival)]
    return [
        Doubt(
            f"The columns of {file.name} may be separated by a {names[0]} or a {names[1]}.",
            f"Say which: --set prepare.table.separator={names[0]}",
            stops=True,
        )
    ]
