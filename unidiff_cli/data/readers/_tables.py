"""Tables as rows of cells: CSV, TSV, JSON lines, JSON and parquet, each row numbered and none lost.

`read` yields (number, cells) or (number, reason): a line that cannot be read costs itself and no
other. An unclosed quote, which lets `csv` swallow the rest of a file, is charged to the line that
opens it. The limits of a recipe bound each row: its characters, its columns, and how deep it nests.
"""

from __future__ import annotations

import csv
import io
from collections import Counter, deque
from collections.abc import Iterator
from itertools import islice

from unidiff_cli.config.schema import Limits
from unidiff_cli.data.locations import Location
from unidiff_cli.data.readers._cells import Cells, Record, bounded, cells_of, not_json, parse
from unidiff_cli.data.readers._json_table import json_rows
from unidiff_cli.data.readers._parquet import parquet_rows
from unidiff_cli.data.sample import Reason, unreadable
from unidiff_cli.errors import UsageError, WorkError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
# Lines of one quoted cell.
MAX_LINES = 1000
# Characters of the first lines, by which the separator is found.
FIRST_LINES = 1 << 20
UNCLOSED = Reason("a quote opens on this line and is never closed")

# A line's number and text; None for one longer than a row may be.
Line = tuple[int, str | None]


def read(file: Location, limits: Limits, notes: Counter[str] | None = None) -> Iterator[Record]:
    """The rows of a table, numbered; a row that cannot be read as its reason.

    Raises WorkError where the file as a whole is unreadable, UsageError without a header.
    """
    notes = Counter() if notes is None else notes
    try:
        for number, cells in _records(file, limits, notes):
            yield number, cells if isinstance(cells, Reason) else bounded(cells, limits)
    except OSError as problem:
        raise WorkError(f"{unreadable(problem, str(file)).text}.") from problem
    except UnicodeError as problem:
        raise WorkError(f"{file} is not valid text: {problem}.", "Save it as UTF-8.") from problem


def _records(file: Location, limits: Limits, notes: Counter[str]) -> Iterator[Record]:
    if file.suffix == ".parquet":
        return parquet_rows(file, limits, notes)
    if file.suffix == ".json":
        return json_rows(file, limits)
    if file.suffix in (".jsonl", ".ndjson"):
        return _json_lines(file, limits)
    return _csv(file, limits, notes)


def separator(file: Location, limits: Limits) -> str:
    """The separator that splits the first lines of a CSV file into the most columns."""
    if file.suffix == ".tsv":
        return "\t"
    lines: list[str] = []
    size = 0
    for _, text in islice(_lines(file, limits.row), 50):
        size += len(text or "")
        if lines and size > FIRST_LINES:
            break
        if text and text.strip():
            lines.append(text)
    best, columns = ",", 1
    for candidate in SEPARATORS:
        try:
            counts = [len(cells) for cells in csv.reader(lines, delimiter=candidate) if cells]
        except csv.Error:
            continue
        if counts and counts[0] > columns and counts.count(counts[0]) >= 0.8 * len(counts):
            best, columns = candidate, counts[0]
    return best


def _lines(file: Location, most: int, newline: str = "") -> Iterator[Line]:
    """Numbered lines. Bytes that are no UTF-8 come as lone surrogates."""
    with file.open() as raw:
        encoding = "utf-16" if raw.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    with (
        file.open() as raw,
        io.TextIOWrapper(raw, encoding, errors="surrogateescape", newline=newline) as stream,
    ):
        number = 0
        while text := stream.readline(most):
            number += 1
            whole = len(text) < most
            while len(text) == most and not text.endswith(("\n", "\r")):
                text = stream.readline(most)
            yield number, text if whole else None


def _too_long(limits: Limits) -> Reason:
    return Reason(f"the line is longer than {limits.row:,} characters (prepare.limits.row)")


def _json_lines(file: Location, limits: Limits) -> Iterator[Record]:
    for number, text in _lines(file, limits.row, newline="\n"):
        if text is None:
            yield number, _too_long(limits)
        elif text.strip():
            yield number, _object(text)


def _object(text: str) -> Cells | Reason:
    try:
        text.encode()
        return cells_of(parse(text))
    except UnicodeEncodeError:
        return Reason("the line is not valid UTF-8")
    except ValueError as problem:
        return not_json(problem)


# ---------------------------------------------------------------- CSV


def _csv(file: Location, limits: Limits, notes: Counter[str]) -> Iterator[Record]:
    csv.field_size_limit(max(csv.field_size_limit(), limits.row))
    header: list[str] = []
    lines = _Lines(file, limits)
    for number, cells, parts in _csv_rows(lines, separator(file, limits)):
        if isinstance(cells, Reason):
            yield number, cells
        elif not header:
            header = _header(file, [_text(cell, notes) for cell in cells], limits)
        elif len(cells) > len(header):
            lines.back(parts[1:])
            text = f"{len(cells):,} cells, but the header names {len(header):,} columns"
            yield number, Reason(text)
        elif len(cells) < len(header) and len(parts) > 1:
            # A quote that was never closed swallowed lines.
            lines.back(parts[1:])
            yield number, UNCLOSED
        else:
            cells = [_text(cell, notes) for cell in cells]
            missing = len(header) - len(cells)
            yield number, dict(zip(header, cells + [""] * missing, strict=True))


class _Lines:
    """Numbered lines that can be given back."""

    def __init__(self, file: Location, limits: Limits) -> None:
        self.limits = limits
        self._source, self._again = _lines(file, limits.row), deque[Line]()

    def take(self) -> Line | None:
        return self._again.popleft() if self._again else next(self._source, None)

    def back(self, lines: list[Line]) -> None:
        self._again.extendleft(reversed(lines))


def _csv_rows(lines: _Lines, sep: str) -> Iterator[tuple[int, list[str] | Reason, list[Line]]]:
    """(first line, cells or reason, the lines they came from), one row at a time."""
    while (line := lines.take()) is not None:
        number, text = line
        if text is None:
            yield number, _too_long(lines.limits), [line]
        elif "\0" in text:
            yield number, Reason("the line holds a NUL byte"), [line]
        elif text.strip():
            parts = [line]
            cells = _cells(lines, parts, sep)
            if isinstance(cells, Reason):
                lines.back(parts[1:])
            yield number, cells, parts


def _cells(lines: _Lines, parts: list[Line], sep: str) -> list[str] | Reason:
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
            if size > lines.limits.row:
                return
            yield more

    try:
        return next(csv.reader(texts(), delimiter=sep, strict=True))
    except csv.Error as problem:
        is_open = "unexpected end" in str(problem) or len(parts) > 1
        return UNCLOSED if is_open else Reason(f"not readable as CSV: {problem}")


def _text(cell: str, notes: Counter[str]) -> str:
    """A cell whose bytes are no UTF-8 read as cp1252, what old spreadsheets write; counted."""
    try:
        cell.encode()
        return cell
    except UnicodeEncodeError:
        notes["cells that are not UTF-8, read as cp1252"] += 1
        return cell.encode("utf-8", "surrogateescape").decode("cp1252", "replace")


def _header(file: Location, cells: list[str], limits: Limits) -> list[str]:
    if len(cells) > limits.columns:
        raise UsageError(
            f"{file}: the first line names {len(cells):,} columns, more than {limits.columns:,}.",
            f"Leave some out, or allow more: --set prepare.limits.columns={len(cells)}",
        )
    names = [cell.strip() or f"column {n}" for n, cell in enumerate(cells, 1)]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise UsageError(
            f"{file}: the header names the column '{repeated[0]}' twice.", "Rename one of them."
        )
    if any(file.sibling(name).is_file() for name in names if len(name) < 250):
        raise UsageError(
            f"{file}: the first line is a row of data, not a header.",
            "Add a first line such as: image,caption",
        )
    return names
