"""Tables as rows of cells: CSV, TSV, JSON lines, JSON and parquet, each row numbered and none lost.

`read` yields (number, cells) or (number, reason): a line that cannot be read costs itself and no other. An
unclosed quote, which lets `csv` swallow the rest of a file, is charged to the line that opens it.
"""

from __future__ import annotations

import csv
import json
import math
from collections import Counter, deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from unidiff_cli.errors import UsageError, WorkError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
MAX_LINE = 16 << 20  # characters
MAX_LINES = 1000  # of one quoted cell
MAX_JSON = 1 << 30  # bytes of a .json file, which is read whole

Cells = dict[str, Any]
Record = tuple[int, Cells | str]


def read(path: Path, notes: Counter[str] | None = None) -> Iterator[Record]:
    """The rows of a table. Raises WorkError where the file as a whole is unreadable, UsageError without a header."""
    notes = Counter() if notes is None else notes
    kind = path.suffix.lower()
    try:
        if kind == ".parquet":
            yield from _parquet(path)
        elif kind == ".json":
            yield from _json(path)
        elif kind in (".jsonl", ".ndjson"):
            yield from _json_lines(path)
        else:
            yield from _csv(path, notes)
    except OSError as problem:
        raise WorkError(f"{path} cannot be read: {problem.strerror or problem}.") from problem
    except UnicodeError as problem:
        raise WorkError(f"{path} is not valid text: {problem}.", "Save it as UTF-8.") from problem


def separator(path: Path) -> str:
    """The separator that splits the first lines of a CSV file into the most columns, equally often."""
    if path.suffix.lower() == ".tsv":
        return "\t"
    lines = [text for _, text in islice(_lines(path), 50) if text and text.strip()]
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


def _lines(path: Path, newline: str = "") -> Iterator[tuple[int, str | None]]:
    """Numbered lines; None for one longer than MAX_LINE. Bytes that are no UTF-8 come as lone surrogates."""
    with open(path, "rb") as raw:
        encoding = "utf-16" if raw.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    with open(path, encoding=encoding, errors="surrogateescape", newline=newline) as stream:
        number = 0
        while text := stream.readline(MAX_LINE):
            number += 1
            whole = len(text) < MAX_LINE
            while len(text) == MAX_LINE and not text.endswith(("\n", "\r")):
                text = stream.readline(MAX_LINE)
            yield number, text if whole else None


# ---------------------------------------------------------------- CSV


def _csv(path: Path, notes: Counter[str]) -> Iterator[Record]:
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))
    header: list[str] = []
    lines = _Lines(path)
    for number, cells, parts in _csv_rows(lines, separator(path)):
        if isinstance(cells, str):
            yield number, cells
            continue
        cells = [_text(cell, notes) for cell in cells]
        if not header:
            header = _header(path, cells)
        elif len(cells) > len(header):
            lines.back(parts[1:])
            yield number, f"{len(cells)} cells, but the header names {len(header)} columns"
        elif (
            len(cells) < len(header) and len(parts) > 1
        ):  # swallowed lines: a quote that was never closed
            lines.back(parts[1:])
            yield number, UNCLOSED
        else:
            yield number, dict(zip(header, cells + [""] * (len(header) - len(cells)), strict=True))


UNCLOSED = "a quote opens on this line and is never closed"


class _Lines:
    """Numbered lines that can be given back."""

    def __init__(self, path: Path) -> None:
        self._source, self._again = _lines(path), deque[tuple[int, str | None]]()

    def take(self) -> tuple[int, str | None] | None:
        return self._again.popleft() if self._again else next(self._source, None)

    def back(self, lines: list[tuple[int, str | None]]) -> None:
        self._again.extendleft(reversed(lines))


def _csv_rows(
    lines: _Lines, sep: str
) -> Iterator[tuple[int, list[str] | str, list[tuple[int, str | None]]]]:
    """(first line, cells or reason, the lines they came from), one row at a time."""
    while (line := lines.take()) is not None:
        number, text = line
        if text is None:
            yield number, f"the line is longer than {MAX_LINE:,} characters", [line]
        elif "\0" in text:
            yield number, "the line holds a NUL byte", [line]
        elif text.strip():
            parts = [line]
            cells = _cells(lines, parts, sep)
            if isinstance(cells, str):
                lines.back(parts[1:])
            yield number, cells, parts


def _cells(lines: _Lines, parts: list[tuple[int, str | None]], sep: str) -> list[str] | str:
    """The cells of the row that starts with parts[0], taking more lines while a quote is open."""
    while True:
        try:
            return next(csv.reader([text or "" for _, text in parts], delimiter=sep, strict=True))
        except csv.Error as problem:
            if "unexpected end" not in str(problem):
                return f"not readable as CSV: {problem}" if len(parts) == 1 else UNCLOSED
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


def _header(path: Path, cells: list[str]) -> list[str]:
    names = [cell.strip() or f"column {n}" for n, cell in enumerate(cells, 1)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UsageError(
            f"{path}: the header names the column '{twice[0]}' twice.", "Rename one of them."
        )
    if any((path.parent / name).is_file() for name in names if len(name) < 250):
        raise UsageError(
            f"{path}: the first line is a row of data, not a header.",
            "Add a first line such as: image,caption",
        )
    return names


# ---------------------------------------------------------------- JSON and parquet


def _json_lines(path: Path) -> Iterator[Record]:
    for number, text in _lines(path, newline="\n"):
        if text is None:
            yield number, f"the line is longer than {MAX_LINE:,} characters"
        elif text.strip():
            yield number, _object(text)


def _object(text: str) -> Cells | str:
    try:
        text.encode()
        value = parse(text)
    except UnicodeEncodeError:
        return "the line is not valid UTF-8"
    except ValueError as problem:
        return f"not JSON: {problem}"
    return value if isinstance(value, dict) else f"a JSON {type(value).__name__}, not an object"


def _json(path: Path) -> Iterator[Record]:
    if path.stat().st_size > MAX_JSON:
        raise WorkError(
            f"{path} is larger than {MAX_JSON >> 30} GiB.", "Save it as JSON lines (.jsonl)."
        )
    try:
        value = parse(path.read_text(encoding="utf-8-sig"))
    except ValueError as problem:
        raise WorkError(f"{path} is not JSON: {problem}.") from problem
    if isinstance(
        value, dict
    ):  # {"a.jpg": {...}} or {"a.jpg": "a red dress"}, as kohya's scripts write it
        rows = [
            {"image": k, **v} if isinstance(v, dict) else {"image": k, "caption": v}
            for k, v in value.items()
        ]
    elif isinstance(value, list):
        rows = value
    else:
        raise WorkError(
            f"{path} holds a JSON {type(value).__name__}.", "A table is a list of objects."
        )
    for number, cells in enumerate(rows, 1):
        yield (
            number,
            cells if isinstance(cells, dict) else f"a JSON {type(cells).__name__}, not an object",
        )


def _parquet(path: Path) -> Iterator[Record]:
    import pyarrow
    import pyarrow.parquet

    try:
        number = 0
        with pyarrow.parquet.ParquetFile(path) as table:
            for batch in table.iter_batches(batch_size=64):
                for cells in batch.to_pylist():
                    number += 1
                    yield number, cells
    except pyarrow.ArrowException as problem:
        raise WorkError(
            f"{path} is not readable as parquet: {str(problem).splitlines()[0]}."
        ) from problem
