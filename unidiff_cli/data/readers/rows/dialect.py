"""How a CSV is written: what separates its columns, what a quote means, where its header is.

Found from whole records of the beginning, not from lines: a quoted cell may have sixty lines. The
recipe's `prepare.table` says it by name.
"""

from __future__ import annotations

import csv
import re
import string
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice

from unidiff_cli.config.prepare import SEPARATORS, Limits, Prepare, TableFile
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.locations import Location
from unidiff_cli.data.readers.rows import text_stream
from unidiff_cli.data.readers.rows.records import Dialect, Lines, are_rows, name_of, rows
from unidiff_cli.data.readers.rows.text_stream import Line
from unidiff_cli.data.readers.rows.titles import ROWS, titles
from unidiff_cli.data.sample import Reason

# Lines and characters of the beginning, by which a dialect is found.
LINES, CHARACTERS = 4000, 1 << 19
# The share of records that have as many cells as the header.
FITTING = 0.8
# Characters that few programs write between columns: a caret, a tilde, \x01 of Hive. No others, so
# that a text of many kinds of characters is not read once for each.
_RARE = frozenset(
    {*string.punctuation, *map(chr, range(1, 32)), *"\x7f¦§¤¬¶·•"} - {*"_-.()[]{}\"'\\/\r\n"}
)
# What some programs write above the header.
_SEPARATOR_LINE = re.compile(r'\ufeff?"?sep=(.)"?;?\s*', re.IGNORECASE)


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
    lines = text_stream.lines(file, options)
    for line in lines:
        beginning.append(line)
        size += len(line[1] or "")
        if size > CHARACTERS or len(beginning) > LINES:
            break
    is_whole = next(lines, None) is None
    csv.field_size_limit(max(csv.field_size_limit(), limits.row))
    is_tabs = file.name.lower().removesuffix(text_stream.PACKED).endswith((".tsv", ".tab"))
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

    Of the separators that fit, the one that gives the most columns; where no usual one fits, any
    other character that does. Lines above the header are left out. Quotes are doubled unless
    records break by that, and do not in another way.
    """
    marked = 0
    first = next((line for line in beginning if line[1] and line[1].strip()), (0, ""))
    separators = [table.separator] if table.separator else list(SEPARATORS.values())
    if match := _SEPARATOR_LINE.fullmatch(first[1] or ""):
        marked = first[0]
        separators = [table.separator or match[1]]
    head = [text for number, text in beginning if number > marked and text and text.strip()]
    if is_tabs and head and "\t" in head[0] and not table.separator:
        separators = ["\t"]
    fits = _fits(beginning, is_whole, table, most, marked, separators)
    if head and not table.separator and not any(fit.fits for fit in fits):
        others = [character for character in dict.fromkeys(head[0]) if character in _RARE]
        found = _fits(beginning, is_whole, table, most, marked, others)
        fits = [fit for fit in found if fit.fits and fit.good > 1] or fits
    # A header in the first line goes before one below it.
    best = max(
        fits,
        key=lambda fit: (
            fit.fits,
            fit.columns if fit.fits else 0,
            not fit.dialect.above,
            fit.share,
        ),
    )
    rivals = [
        fit.dialect.separator
        for fit in fits
        if fit is not best
        and fit.fits
        and (fit.columns, fit.dialect.above) == (best.columns, best.dialect.above)
    ]
    chosen = best.dialect
    rival = rivals[0] if rivals else ""
    return replace(chosen, rival=rival)


def _fits(
    beginning: list[Line],
    is_whole: bool,
    table: TableFile,
    most: int,
    marked: int,
    separators: list[str],
) -> list[_Fit]:
    """How each separator fits that the header has; the first one where it has none."""
    fits = []
    for separator in separators:
        start = _below_titles(beginning, table, most, Dialect(separator, "", marked))
        header = next((t for n, t in beginning if n > start.skipped and t and t.strip()), "")
        if separator in (header or ""):
            fits.append(_best_quoting(beginning, is_whole, table, most, start))
    if fits or not separators:
        return fits
    return [_best_quoting(beginning, is_whole, table, most, Dialect(separators[0], "", marked))]


def _below_titles(beginning: list[Line], table: TableFile, most: int, dialect: Dialect) -> Dialect:
    """The dialect without the lines above the header."""
    if table.header is not None:
        return dialect
    plain = replace(dialect, quoting=table.quoting or "doubled")
    records = list(islice(rows(Lines(iter(beginning), most), plain), ROWS))
    if any(isinstance(cells, Reason) for _, cells, _ in records[:1]):
        return dialect
    found = [(parts[-1][0], cells) for _, cells, parts in records if not isinstance(cells, Reason)]
    above = titles([cells for _, cells in found])
    return replace(dialect, skipped=found[above - 1][0], above=above) if above else dialect


def _best_quoting(
    beginning: list[Line], is_whole: bool, table: TableFile, most: int, dialect: Dialect
) -> _Fit:
    """The quoting that fits best with a separator."""

    def fit(quoting: str) -> _Fit:
        candidate = replace(dialect, quoting=quoting)
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
