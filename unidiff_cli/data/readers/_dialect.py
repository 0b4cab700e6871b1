"""How a CSV is written: what separates its columns, what a quote means, where its header is.

Found from whole records of the beginning, not from lines: a quoted cell may have sixty lines. The
recipe's `prepare.table` says it by name.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import lru_cache

from unidiff_cli.config.schema import SEPARATORS, Limits, Prepare, TableFile
from unidiff_cli.data.doubts import Doubt
from unidiff_cli.data.locations import Location
from unidiff_cli.data.readers import _text
from unidiff_cli.data.readers._records import Dialect, Lines, are_rows, name_of, rows
from unidiff_cli.data.readers._text import Line
from unidiff_cli.data.sample import Reason

# Lines and characters of the beginning, by which a dialect is found.
LINES, CHARACTERS = 4000, 1 << 19
# The share of records that have as many cells as the header.
FITTING = 0.8
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
    lines = _text.lines(file, options)
    for line in lines:
        beginning.append(line)
        size += len(line[1] or "")
        if size > CHARACTERS or len(beginning) > LINES:
            break
    is_whole = next(lines, None) is None
    csv.field_size_limit(max(csv.field_size_limit(), limits.row))
    is_tabs = file.name.lower().removesuffix(_text.PACKED).endswith((".tsv", ".tab"))
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
