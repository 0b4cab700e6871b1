"""Tables as rows of cells: CSV, TSV, JSON lines, JSON and parquet, each row numbered and none lost.

`read` yields (number, cells) or (number, reason): a line that cannot be read costs itself and no
other. An unclosed quote, which lets `csv` swallow the rest of a file, is charged to the line that
opens it.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter, deque
from collections.abc import Iterator
from itertools import islice
from typing import Any

from unidiff_cli.data.locations import Location
from unidiff_cli.data.sample import Cause, Reason
from unidiff_cli.errors import UsageError, WorkError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
# Characters.
MAX_LINE = 16 << 20
# Of one quoted cell.
MAX_LINES = 1000
# Bytes of a .json file, which is read whole.
MAX_JSON = 1 << 30
UNCLOSED = Reason("a quote opens on this line and is never closed")

Cells = dict[str, Any]
Record = tuple[int, Cells | Reason]
# A line's number and text; None for one longer than MAX_LINE.
Line = tuple[int, str | None]


def read(file: Location, notes: Counter[str] | None = None) -> Iterator[Record]:
    """The rows of a table, numbered; a row that cannot be read as its reason.

    Raises WorkError where the file as a whole is unreadable, UsageError without a header.
    """
    notes = Counter() if notes is None else notes
    try:
        if file.suffix == ".parquet":
            yield from _parquet(file)
        elif file.suffix == ".json":
            yield from _json(file)
        elif file.suffix in (".jsonl", ".ndjson"):
            yield from _json_lines(file)
        else:
            yield from _csv(file, notes)
    except OSError as problem:
        raise WorkError(f"{file} cannot be read: {problem.strerror or problem}.") from problem
    except UnicodeError as problem:
        raise WorkError(f"{file} is not valid text: {problem}.", "Save it as UTF-8.") from problem


def separator(file: Location) -> str:
    """The separator that splits the first lines of a CSV file into the most columns."""
    if file.suffix == ".tsv":
        return "\t"
    lines = [text for _, text in islice(_lines(file), 50) if text and text.strip()]
    best, columns = ",", 1
    for candidate in SEPARATORS:
        try:
            counts = [len(cells) for cells in csv.reader(lines, delimiter=candidate) if cells]
        except csv.Error:
            continue
        if counts and counts[0] > columns and counts.count(counts[0]) >= 0.8 * len(counts):
            best, columns = candidate, counts[0]
    return best


def plain(value: Any) -> Any:
    """A cell as strict JSON can hold it: no NaN, no bytes, dates as text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes | bytearray):
        return None
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return str(value)


def parse(text: str) -> Any:
    """Strict JSON: no NaN, no Infinity. Raises ValueError."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _lines(file: Location, newline: str = "") -> Iterator[Line]:
    """Numbered lines. Bytes that are no UTF-8 come as lone surrogates."""
    with file.open() as raw:
        encoding = "utf-16" if raw.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    with (
        file.open() as raw,
        io.TextIOWrapper(raw, encoding, errors="surrogateescape", newline=newline) as stream,
    ):
        number = 0
        while text := stream.readline(MAX_LINE):
            number += 1
            whole = len(text) < MAX_LINE
            while len(text) == MAX_LINE and not text.endswith(("\n", "\r")):
                text = stream.readline(MAX_LINE)
            yield number, text if whole else None


# ---------------------------------------------------------------- CSV


def _csv(file: Location, notes: Counter[str]) -> Iterator[Record]:
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))
    header: list[str] = []
    lines = _Lines(file)
    for number, cells, parts in _csv_rows(lines, separator(file)):
        if isinstance(cells, Reason):
            yield number, cells
            continue
        cells = [_text(cell, notes) for cell in cells]
        if not header:
            header = _header(file, cells)
        elif len(cells) > len(header):
            lines.back(parts[1:])
            text = f"{len(cells)} cells, but the header names {len(header)} columns"
            yield number, Reason(text)
        elif len(cells) < len(header) and len(parts) > 1:
            # A quote that was never closed swallowed lines.
            lines.back(parts[1:])
            yield number, UNCLOSED
        else:
            missing = len(header) - len(cells)
            yield number, dict(zip(header, cells + [""] * missing, strict=True))


class _Lines:
    """Numbered lines that can be given back."""

    def __init__(self, file: Location) -> None:
        self._source, self._again = _lines(file), deque[Line]()

    def take(self) -> Line | None:
        return self._again.popleft() if self._again else next(self._source, None)

    def back(self, lines: list[Line]) -> None:
        self._again.extendleft(reversed(lines))


def _csv_rows(lines: _Lines, sep: str) -> Iterator[tuple[int, list[str] | Reason, list[Line]]]:
    """(first line, cells or reason, the lines they came from), one row at a time."""
    while (line := lines.take()) is not None:
        number, text = line
        if text is None:
            yield number, Reason(f"the line is longer than {MAX_LINE:,} characters"), [line]
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
    while True:
        try:
            return next(csv.reader([text or "" for _, text in parts], delimiter=sep, strict=True))
        except csv.Error as problem:
            if "unexpected end" not in str(problem):
                return Reason(f"not readable as CSV: {problem}") if len(parts) == 1 else UNCLOSED
        while True:
            more = lines.take()
            if more is None:
                return UNCLOSED
            parts.append(more)
            if more[1] is None or "\0" in more[1] or len(parts) > MAX_LINES:
                return UNCLOSED
            if '"' in more[1]:
                break


def _text(cell: str, notes: Counter[str]) -> str:
    """A cell whose bytes are no UTF-8 read as cp1252, what old spreadsheets write; counted."""
    try:
        cell.encode()
        return cell
    except UnicodeEncodeError:
        notes["cells that are not UTF-8, read as cp1252"] += 1
        return cell.encode("utf-8", "surrogateescape").decode("cp1252", "replace")


def _header(file: Location, cells: list[str]) -> list[str]:
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


# ---------------------------------------------------------------- JSON and parquet


def _json_lines(file: Location) -> Iterator[Record]:
    for number, text in _lines(file, newline="\n"):
        if text is None:
            yield number, Reason(f"the line is longer than {MAX_LINE:,} characters")
        elif text.strip():
            yield number, _object(text)


def _object(text: str) -> Cells | Reason:
    try:
        text.encode()
        return _cells_of(parse(text))
    except UnicodeEncodeError:
        return Reason("the line is not valid UTF-8")
    except ValueError as problem:
        return Reason(f"not JSON: {problem}", Cause.NOT_JSON)


def _cells_of(value: Any) -> Cells | Reason:
    if isinstance(value, dict):
        return value
    return Reason(f"a JSON {type(value).__name__}, not an object")


def _json(file: Location) -> Iterator[Record]:
    if file.size > MAX_JSON:
        raise WorkError(
            f"{file} is larger than {MAX_JSON >> 30} GiB.", "Save it as JSON lines (.jsonl)."
        )
    try:
        value = parse(file.read().decode("utf-8-sig"))
    except ValueError as problem:
        raise WorkError(f"{file} is not JSON: {problem}.") from problem
    if isinstance(value, dict):
        # {"a.jpg": {...}} or {"a.jpg": "a red dress"}, as kohya's scripts write it.
        rows = [
            {"image": k, **v} if isinstance(v, dict) else {"image": k, "caption": v}
            for k, v in value.items()
        ]
    elif isinstance(value, list):
        rows = value
    else:
        raise WorkError(
            f"{file} holds a JSON {type(value).__name__}.", "A table is a list of objects."
        )
    for number, cells in enumerate(rows, 1):
        yield number, _cells_of(cells)


def _parquet(file: Location) -> Iterator[Record]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with file.open() as stream, pyarrow.parquet.ParquetFile(stream) as table:
            for batch in table.iter_batches(batch_size=64):
                for cells in batch.to_pylist():
                    number += 1
                    yield number, cells
    except pyarrow.ArrowException as problem:
        first_line = str(problem).splitlines()[0]
        raise WorkError(f"{file} is not readable as parquet: {first_line}.") from problem
